import sys
from pathlib import Path

# Fakes that several test modules share; spawned processes inherit the path.
sys.path.insert(0, str(Path(__file__).parent / "fakes"))

import sys
from pathlib import Path

import pytest
import torch

# Fakes that several test modules share; spawned processes inherit the path.
sys.path.insert(0, str(Path(__file__).parent / "fakes"))


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors are slower on many threads, most of all beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

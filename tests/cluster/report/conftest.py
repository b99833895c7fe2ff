import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def replay() -> ModuleType:
    """The generator of a plausible journal."""
    path = Path(__file__).parents[1] / "replay_journal.py"
    spec = importlib.util.spec_from_file_location("replay_journal", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""Checks and data that all tests share."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from beartype import beartype
from hypothesis import HealthCheck, settings
from jaxtyping import AbstractArray, install_import_hook

ROOT = Path(__file__).resolve().parents[1]


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the annotated shapes of a function at every call; mypy checks the other types."""
    function.__annotations__ = {
        name: annotation if _has_shape(annotation) else Any
        for name, annotation in function.__annotations__.items()
    }
    return beartype(function)


def _has_shape(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(map(_has_shape, get_args(annotation)))


# The checks cannot be traced by torch.compile, and this module refuses wrong shapes itself.
_UNCHECKED = ROOT / "absa" / "models" / "ghost_batch_norm.py"
_WITH_SHAPES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in sorted((ROOT / "absa").rglob("*.py"))
    if file != _UNCHECKED and "from jaxtyping import" in file.read_text("utf-8")
]
install_import_hook(_WITH_SHAPES, f"{__name__}.check_shapes")

# A busy machine is no failure: no example has to be ready in time.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests that need a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI a test that cannot run has failed: only the GPU may be missing there."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("CI") and not item.get_closest_marker("gpu"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on many threads, and sums come out the same on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function: "mnist" or "cifar10" -> a folder with the real set as ``arrays`` reads it.

    The sets lie packed in ``../shared/data`` beside the repository, or where ABSA_SHARED says, and
    are unpacked when they are first asked for.
    """
    packed = Path(os.environ.get("ABSA_SHARED", ROOT.parent / "shared" / "data"))
    unpacked = tmp_path_factory.mktemp("shared_data")

    def folder(name: str) -> Path:
        if not (packed / "unpack.py").is_file():
            pytest.skip(f"there is no {packed}/unpack.py; ABSA_SHARED may name another folder")
        if not (unpacked / name).is_dir():
            command = [sys.executable, str(packed / "unpack.py"), name, str(unpacked)]
            subprocess.run(command, check=True, capture_output=True)
        return unpacked / name

    return folder

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.checkpoint import checkpoint_name, checkpoint_names, load_checkpoint, save_checkpoint
from absa.retention import best, list_checkpoints, prune
from absa.state import StateTree
from absa.storage import LocalStorage

EMPTY = StateTree({}, {})
METRICS = st.none() | st.floats(0, 1).map(lambda x: round(x, 1)) | st.just(math.nan)


@pytest.fixture(autouse=True, scope="module")
def _fast_disk() -> Iterator[None]:
    """Waiting for the disk proves nothing here and takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def save(folder: LocalStorage, name: str, metric: object = None) -> None:
    save_checkpoint(folder, name, EMPTY, {}, {"best_metric": metric})


@settings(max_examples=25)
@given(
    saved=st.lists(st.tuples(st.integers(0, 2), METRICS, st.booleans()), min_size=1, max_size=6),
    keep_last=st.integers(1, 4),
    keep_best=st.booleans(),
)
def test_pruning_as_a_run_goes_keeps_the_last_and_the_best(
    tmp_path_factory, saved, keep_last, keep_best
) -> None:
    """The twin: a list of (order, name, metric), pruned by hand after every save."""
    folder = LocalStorage(tmp_path_factory.mktemp("run"))
    twin: list[tuple[str, float | None]] = []
    for update, (lineage_step, metric, cut_off) in enumerate(saved):
        lineage = sum(step for step, _, _ in saved[: update + 1]) if lineage_step else 0
        lineage = max(
            lineage, max((int(n.split("lineage")[1]) for n, _ in twin if "li" in n), default=0)
        )
        name = checkpoint_name(update, lineage)
        if cut_off:
            folder.child(name).write("tensors-00000000.safetensors", [b"half"])
            continue
        save(folder, name, metric)
        twin.append((name, None if metric is None or math.isnan(metric) else metric))
        removed = prune(folder, keep_last, keep_best=keep_best)
        rated = [m for _, m in twin if m is not None]
        top = next((n for n, m in twin if rated and m == max(rated)), None)
        kept = [
            (n, m) for i, (n, m) in enumerate(twin)
            if i >= len(twin) - keep_last or (keep_best and n == top)
        ]  # fmt: skip
        assert removed == [n for n, _ in twin if n not in dict(kept)]
        twin = kept
        assert sorted(os.listdir(folder.path)) == sorted(n for n, _ in twin)
        load_checkpoint(folder, name)


def test_the_best_is_the_earliest_with_the_highest_finite_metric(tmp_path: Path) -> None:
    folder = LocalStorage(tmp_path)
    assert best(list_checkpoints(folder)) is None
    for update, metric in enumerate([None, "high", True, math.inf, math.nan, 0.5, 1, 1.0, 0.9]):
        save(folder, checkpoint_name(update), metric)
    assert best(list_checkpoints(folder)) == checkpoint_name(6)


def test_a_damaged_checkpoint_neither_counts_nor_goes(tmp_path: Path) -> None:
    folder = LocalStorage(tmp_path)
    for update in (1, 2, 3):
        save(folder, checkpoint_name(update), update)
    next((tmp_path / checkpoint_name(3)).glob("values*")).unlink()
    with pytest.warns(UserWarning, match=r"checkpoint update-00000003 is left out.*is missing"):
        removed = prune(folder, 1, keep_best=True)
    assert removed == [checkpoint_name(1)]
    load_checkpoint(folder, checkpoint_name(2))
    assert checkpoint_names(folder) == [checkpoint_name(2), checkpoint_name(3)]


def test_other_folders_and_files_stay(tmp_path: Path) -> None:
    folder = LocalStorage(tmp_path)
    save(folder, checkpoint_name(1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "update-00000009").write_text("a file")
    prune(folder, 1, keep_best=False)
    assert sorted(os.listdir(tmp_path)) == ["mine", "update-00000001", "update-00000009"]


def test_a_removal_that_is_cut_off_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = LocalStorage(tmp_path)
    for update in (1, 2):
        save(folder, checkpoint_name(update))

    class KilledError(Exception):
        pass

    def killed(path: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KilledError):
            prune(folder, 1, keep_best=False)
    assert checkpoint_names(folder) == [checkpoint_name(2)]
    prune(folder, 1, keep_best=False)
    assert os.listdir(tmp_path) == [checkpoint_name(2)]


@pytest.mark.parametrize("keep_last", [0, -1])
def test_at_least_one_is_kept(tmp_path: Path, keep_last: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        prune(LocalStorage(tmp_path), keep_last, keep_best=True)

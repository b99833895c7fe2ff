import itertools
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch

from absa.checkpoint import checkpoint_name, checkpoint_names, load_checkpoint, save_checkpoint
from absa.errors import CheckpointError
from absa.retention import prune
from absa.state import StateTree
from absa.storage import Chunk, LocalStorage


@pytest.fixture(autouse=True, scope="module")
def _fast_disk() -> Iterator[None]:
    """Waiting for the disk proves nothing here and takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def tree(value: float) -> StateTree:
    return StateTree({"model/w": torch.full((30, 10), value)}, {"value": value})


class Failing:
    """A `Storage` on a disk that has room for so many more bytes."""

    def __init__(self, inner: LocalStorage, room: list[int]) -> None:
        self._inner, self._room = inner, room

    def __getattr__(self, name: str):
        return getattr(self._inner, name)

    def child(self, name: str) -> "Failing":
        return Failing(self._inner.child(name), self._room)

    def write(self, name: str, chunks: Iterable[Chunk]) -> None:
        def limited():
            for chunk in chunks:
                self._room[0] -= len(chunk)
                if self._room[0] < 0:
                    raise OSError(28, "No space left on device")
                yield chunk

        self._inner.write(name, limited())


@pytest.mark.parametrize("room", [0, 100, 1_290, 1_310, 1_320])
@pytest.mark.parametrize("again", [False, True])
def test_a_full_disk_leaves_the_earlier_checkpoints_and_no_rubbish(
    tmp_path: Path, room: int, again: bool
) -> None:
    folder = LocalStorage(tmp_path)
    save_checkpoint(folder, checkpoint_name(1), tree(1.0), {}, {})
    name = checkpoint_name(1 if again else 2)
    with pytest.raises(CheckpointError, match=r"No space left on device; free some space"):
        save_checkpoint(Failing(folder, [room]), name, tree(2.0), {}, {})
    assert checkpoint_names(folder) == [checkpoint_name(1)]
    assert load_checkpoint(folder, checkpoint_name(1))[0].values == {"value": 1.0}
    assert len(list(tmp_path.rglob("*.*"))) == 4


class Unheard(Failing):
    """A `Storage` whose answer to a manifest's write gets lost on the way back."""

    def child(self, name: str) -> "Unheard":
        return Unheard(self._inner.child(name), self._room)

    def write(self, name: str, chunks: Iterable[Chunk]) -> None:
        self._inner.write(name, chunks)
        if name == "manifest.json":
            raise CheckpointError("the connection broke")


@pytest.mark.parametrize("update", [1, 2])
def test_a_save_that_came_through_although_it_failed_is_whole(tmp_path: Path, update: int) -> None:
    folder = LocalStorage(tmp_path)
    save_checkpoint(folder, checkpoint_name(1), tree(1.0), {}, {})
    with pytest.raises(CheckpointError, match="the connection broke"):
        save_checkpoint(Unheard(folder, []), checkpoint_name(update), tree(2.0), {}, {})
    assert load_checkpoint(folder, checkpoint_name(update))[0].values == {"value": 2.0}


def test_a_real_limit_on_file_size_is_explained(tmp_path: Path) -> None:
    folder = LocalStorage(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write .*safetensors.*; free some space"):
            save_checkpoint(folder, checkpoint_name(1), tree(1.0), {}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.rglob("*.*")) == []


# One process forks once per point, because importing torch takes longer than all the rest.
KILLED = """
import os, signal, sys
from pathlib import Path
from absa.checkpoint import checkpoint_name, save_checkpoint
from absa.storage import LocalStorage
import torch
from absa.state import StateTree

torch.set_num_threads(1)
tree = StateTree({"model/w": torch.full((30, 10), 2.0)}, {"value": 2.0})

def save_and_die_at(folder, update, point):
    calls = 0
    def dying(real):
        def call(*args):
            nonlocal calls
            if calls == point:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            return real(*args)
        return call
    os.fsync = lambda descriptor: None
    for name in ("write", "fsync", "replace", "mkdir"):
        setattr(os, name, dying(getattr(os, name)))
    save_checkpoint(folder, checkpoint_name(update), tree, {}, {})
    os._exit(0)

for update in (1, 2):
    for point in range(100):
        child = os.fork()
        if child == 0:
            save_and_die_at(LocalStorage(Path(f"{update}-{point}")), update, point)
        if os.waitpid(child, 0)[1] == 0:
            break
    print(point)
"""


@pytest.mark.cpu_heavy
def test_a_save_that_is_killed_at_any_point_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    save_checkpoint(LocalStorage(tmp_path / "old"), checkpoint_name(1), tree(1.0), {}, {})
    for update, point in itertools.product((1, 2), range(30)):
        shutil.copytree(tmp_path / "old", tmp_path / f"{update}-{point}")
    done = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path,
        env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for update, num_points in zip((1, 2), map(int, done.stdout.split()), strict=True):
        assert 15 < num_points < 30
        folders = [LocalStorage(tmp_path / f"{update}-{point}") for point in range(num_points)]
        values = [
            load_checkpoint(folder, checkpoint_names(folder)[-1])[0].values["value"]
            for folder in folders
        ]
        # Once the manifest is renamed, the new one is there; never before.
        assert values == sorted(values)
        assert set(values) == {1.0, 2.0}
        for folder in folders[::4]:
            # A run that resumes cleans up and writes on as if nothing had been.
            save_checkpoint(folder, checkpoint_name(2), tree(3.0), {}, {})
            prune(folder, 1, keep_best=False)
            assert load_checkpoint(folder, checkpoint_name(2))[0].values["value"] == 3.0
            assert list(folder.entries()) == [checkpoint_name(2)]
            assert len(folder.child(checkpoint_name(2)).entries()) == 4


def test_a_writer_that_was_replaced_meanwhile_leaves_no_checkpoint(tmp_path: Path) -> None:
    folder = LocalStorage(tmp_path)
    save_checkpoint(folder, checkpoint_name(1), tree(1.0), {}, {})

    def replaced() -> None:
        raise ConnectionError("another worker has taken this place")

    for update in (1, 2):
        with pytest.raises(ConnectionError):
            save_checkpoint(folder, checkpoint_name(update), tree(2.0), {}, {}, replaced)
    assert checkpoint_names(folder) == [checkpoint_name(1)]
    loaded, _, _ = load_checkpoint(folder, checkpoint_name(1))
    assert loaded.values["value"] == 1.0

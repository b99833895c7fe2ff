import threading
from pathlib import Path

import pytest
import torch

from absa.background_writer import BackgroundWriter
from absa.checkpoint import CheckpointInfo, checkpoint_name, checkpoint_names, load_checkpoint
from absa.errors import CheckpointError
from absa.state import StateTree, clone_to_host
from absa.storage import LocalStorage

BAD = StateTree({}, {"x": object()})
EMPTY = StateTree({}, {})


@pytest.fixture
def folder(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def ignore(info: CheckpointInfo) -> None:
    pass


def test_a_snapshot_is_written_as_it_was_at_the_boundary(folder: LocalStorage) -> None:
    weight = torch.ones(3)
    done: list[tuple[str, str]] = []

    def on_done(info: CheckpointInfo) -> None:
        done.append((info.name, threading.current_thread().name))

    with BackgroundWriter(folder, on_done) as writer:
        writer.submit(checkpoint_name(1), clone_to_host(StateTree({"w": weight}, {})), {}, {})
        weight.zero_()
    assert torch.equal(load_checkpoint(folder, checkpoint_name(1))[0].tensors["w"], torch.ones(3))
    assert done == [(checkpoint_name(1), "checkpoint_0")]


def test_the_next_submit_waits_for_the_one_before(folder: LocalStorage) -> None:
    go, order = threading.Event(), []

    def on_done(info: CheckpointInfo) -> None:
        assert go.wait(300)
        order.append(info.name)

    with BackgroundWriter(folder, on_done) as writer:
        writer.submit(checkpoint_name(1), EMPTY, {}, {})
        writer.check()
        assert order == []
        go.set()
        writer.submit(checkpoint_name(2), EMPTY, {}, {})
        assert order[0] == checkpoint_name(1)
    assert order == [checkpoint_name(1), checkpoint_name(2)]


@pytest.mark.parametrize("how", ["submit", "wait", "check"])
def test_a_failure_is_raised_once_by_whatever_comes_next(folder: LocalStorage, how: str) -> None:
    with BackgroundWriter(folder, ignore) as writer:
        writer.submit(checkpoint_name(1), BAD, {}, {})
        writer._executor.submit(lambda: None).result()
        with pytest.raises(CheckpointError, match="the value at x is a object"):
            {
                "submit": lambda: writer.submit(checkpoint_name(2), EMPTY, {}, {}),
                "wait": writer.wait,
                "check": writer.check,
            }[how]()
        writer.submit(checkpoint_name(3), EMPTY, {}, {})
    assert checkpoint_names(folder) == [checkpoint_name(3)]


def test_a_failure_ends_the_block(folder: LocalStorage) -> None:
    writer = BackgroundWriter(folder, ignore)
    with pytest.raises(CheckpointError, match="x is a object"), writer:
        writer.submit(checkpoint_name(1), BAD, {}, {})


def test_a_failure_of_the_callback_is_not_lost(folder: LocalStorage) -> None:
    def on_done(info: CheckpointInfo) -> None:
        raise RuntimeError("the journal is gone")

    writer = BackgroundWriter(folder, on_done)
    with pytest.raises(RuntimeError, match="the journal is gone"), writer:
        writer.submit(checkpoint_name(1), EMPTY, {}, {})


def save_and_raise(folder: LocalStorage, tree: StateTree, error: BaseException) -> None:
    with BackgroundWriter(folder, ignore) as writer:
        writer.submit(checkpoint_name(1), tree, {}, {})
        raise error


def test_what_ended_the_block_is_not_hidden_by_a_failure(folder: LocalStorage) -> None:
    with pytest.raises(KeyboardInterrupt) as error:
        save_and_raise(folder, BAD, KeyboardInterrupt())
    assert "could not be written: the value at x" in error.value.__notes__[0]


def test_the_block_ends_after_the_last_write(folder: LocalStorage) -> None:
    with pytest.raises(ValueError, match="training failed"):
        save_and_raise(folder, EMPTY, ValueError("training failed"))
    assert checkpoint_names(folder) == [checkpoint_name(1)]

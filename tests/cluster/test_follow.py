"""What the driver does about records, the user's wish to stop and the end of groups."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from absa.checkpoint import save_checkpoint
from absa.errors import ClusterError, InputError
from absa.events import Record
from absa.journal import read_journal
from absa.run_folder import new_run
from absa.state import StateTree
from cluster.controller import Controller, Failure
from cluster.elastic.wish import Wanted, Wish
from cluster.exit_code import TrainingFailedError
from cluster.follow import Followed, Follower, interrupted_between_groups
from cluster.interrupt import Interrupts
from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.own_ray import RayLostError


@dataclass
class FakeTraining:
    """A group that does the next of some steps whenever the driver looks."""

    steps: list[Callable[[], bool | None]]
    error: BaseException | None = None
    is_resizing: bool = False
    started: list[int] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)

    def has_ended(self, timeout_s: float) -> bool:
        return bool(self.steps.pop(0)())

    def take(self, record: Record) -> None:
        """Nothing follows from it."""

    def steer(self, wanted: Wanted) -> None:
        self.wanted.append(wanted)

    def start_next(self, wanted: Wanted) -> int:
        self.started.append(wanted.workers)
        self.is_resizing = False
        return wanted.workers

    def close(self) -> None:
        """Nothing is held."""


class World:
    """A follower and all that it is connected to; only the groups are not real."""

    def __init__(self, path, *settings: str) -> None:
        self.job = resolve(load_job(None, settings))
        self.folder = new_run(str(path), "run")
        self.controller = Controller()
        assert self.controller.open(self.folder, lineage=0) is None
        self.interrupt, self.shown = Interrupts(), []
        self.interrupt.defer()
        self.training = FakeTraining([])
        self.wish = Wish(self.job, 2)
        self.remarks: list[Record] = []

    def follow(self, *steps: Callable[[], bool | None]) -> int:
        self.training.steps = list(steps)
        run = Followed(
            self.job, self.folder, self.controller, self.training, self.wish, self.remarks
        )
        return Follower(run, self.shown.append, self.interrupt).follow()

    def begin(self) -> None:
        self.record("run_started", num_train=100, lineage=self.controller.begin())

    def record(self, event: str, lineage: int = 0, **fields) -> None:
        stamp = {"time": 1.0, "lineage": lineage, "generation": 0, "update": 3, "samples": 30}
        self.controller.record([{"event": event, **stamp, **fields}], lineage)

    def end(self, reason: str = "epochs", lineage: int = 0) -> bool:
        self.record("run_ended", lineage, reason=reason)
        return True

    def end_for_a_resize(self) -> bool:
        self.training.is_resizing = True
        tree = StateTree(
            {"w": torch.zeros(1)},
            {"progress": {"best": {"accuracy": 0.5}, "training_s": 7.0, "skipped": 2}},
            {},
        )
        about = {"metrics": {"accuracy": 0.25}, "best_metric": 0.25, "best": False, "update": 3}
        save_checkpoint(self.folder.checkpoints, "update-00000003", tree, {}, about)
        return True

    def press_ctrl_c(self) -> None:
        self.interrupt.handle(signal.SIGINT, None)

    def journal(self) -> list[Record]:
        return read_journal(self.folder.storage)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.controller.close()


def test_all_records_are_shown_and_the_reason_is_the_exit_code(world):
    assert world.follow(world.begin, world.end) == 0
    assert [record["event"] for record in world.shown] == ["run_started", "run_ended"]


def test_what_is_wanted_is_said_from_the_first_record_on(world):
    world.follow(lambda: None, world.begin, lambda: None, world.end)
    assert [wanted.workers for wanted in world.training.wanted] == [2, 2]


def test_a_resize_starts_the_next_group_with_what_is_wanted_then(world):
    def ask() -> bool:
        world.wish.ask(1)
        return world.end_for_a_resize()

    code = world.follow(
        world.begin,
        ask,
        lambda: world.record("run_started", world.controller.begin(), num_train=100),
        lambda: world.end(lineage=1),
    )
    assert code == 0
    assert world.training.started == [1]
    assert {"event": "phase", "text": "starting again with 1 worker(s)"} in world.shown


def test_a_complete_run_whose_workers_do_not_end_is_complete_all_the_same(world, monkeypatch):
    monkeypatch.setattr("cluster.follow.END_S", 0.0)

    assert world.follow(world.begin, lambda: not world.end(), lambda: False, lambda: False) == 0


def test_what_fails_after_the_end_is_told_and_changes_nothing(world):
    def end_badly() -> bool:
        world.training.error = RuntimeError("a worker was lost while it ended")
        return world.end()

    assert world.follow(world.begin, end_badly) == 0
    assert "was lost while it ended" in world.shown[-1]["detail"]


def test_an_end_without_a_reason_is_a_lost_run(world):
    with pytest.raises(RayLostError, match="without finishing"):
        world.follow(world.begin, lambda: True)


def test_a_group_that_fails_while_it_is_to_be_resized_has_failed(world):
    def fail() -> bool:
        world.training.error = RuntimeError("the controller is gone")
        return world.end_for_a_resize()

    with pytest.raises(RayLostError, match="the controller is gone"):
        world.follow(world.begin, fail)
    assert world.training.started == []


@pytest.mark.parametrize(("code", "kind"), [(2, InputError), (3, TrainingFailedError)])
def test_a_failure_that_a_worker_tells_ends_the_run(world, code, kind):
    world.begin()
    world.controller.fail(Failure("the task broke", code), 0)
    with pytest.raises(kind, match="the task broke"):
        world.follow(lambda: None)


def test_ctrl_c_asks_the_group_to_end_and_nothing_more_is_wanted(world):
    def take() -> bool:
        assert world.controller.record([], 0)[1].stop == "interrupted"
        return world.end("interrupted")

    assert world.follow(world.begin, world.press_ctrl_c, lambda: None, take) == 130
    assert len(world.training.wanted) == 1


def test_ctrl_c_while_the_group_ends_for_a_resize_ends_the_run_with_its_checkpoint(world):
    def press() -> bool:
        world.press_ctrl_c()
        return world.end_for_a_resize()

    assert world.follow(world.begin, press) == 130
    assert world.training.started == []
    ended = world.journal()[-1]
    assert (ended["event"], ended["reason"]) == ("run_ended", "interrupted")
    assert ended == world.shown[-1]
    assert (ended["checkpoint"], ended["update"], ended["samples"]) == ("update-00000003", 3, 30)
    assert (ended["seconds"], ended["skipped"]) == (7.0, 2)
    assert (ended["metrics"], ended["best_metrics"]) == ({"accuracy": 0.25}, {"accuracy": 0.5})


def test_ctrl_c_between_two_groups_ends_the_run_at_once(world):
    def press() -> None:
        world.controller.expect_group()  # as `start_next` does
        world.press_ctrl_c()

    assert world.follow(world.begin, world.end_for_a_resize, press) == 130
    assert world.journal()[-1]["reason"] == "interrupted"


def test_ctrl_c_before_anything_happened_leaves_nothing(world):
    with pytest.raises(KeyboardInterrupt):
        world.follow(world.press_ctrl_c)
    assert world.journal() == []


def test_a_run_that_ended_by_itself_was_not_interrupted(world):
    def end() -> bool:
        world.press_ctrl_c()
        return world.end()

    assert world.follow(world.begin, end) == 0


def test_a_cluster_without_workers_is_left_after_wait_s(tmp_path, monkeypatch):
    world = World(tmp_path, "workers.wait_s=1e-9")
    monkeypatch.setattr("cluster.follow.described_resources", lambda: "nothing")
    with pytest.raises(ClusterError, match="did not give 1 worker"):
        world.follow(lambda: None)
    world.controller.close()


def test_remarks_are_journalled_once_when_training_begins(world):
    world.remarks.append({"event": "fault", "what": "elastic.mode", "detail": "restart is used"})
    world.follow(world.begin, lambda: None, lambda: None, world.end)

    assert [r["event"] for r in world.journal()] == ["run_started", "fault", "run_ended"]


def test_a_missing_checkpoint_is_told(world):
    with pytest.raises(InputError, match="left no checkpoint"):
        interrupted_between_groups(world.folder)

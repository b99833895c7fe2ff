"""Groups one after another, with the real controller and groups that only say that they run."""

from dataclasses import dataclass, field

import pytest

from absa.boundary import Command
from absa.journal import read_journal
from absa.run_folder import RunFolder, new_run
from cluster.controller import Controller
from cluster.elastic.wish import Wanted
from cluster.restart import Group, RestartTraining, Starters

RESIZED = Command("resized to 2 workers", stop="resized")


class FakeFit:
    """Stands for the thread in which a group is followed."""

    def __init__(self) -> None:
        self.ended, self.error = False, None

    def join(self, timeout: float | None = None) -> None:
        """Nothing takes time."""

    def is_alive(self) -> bool:
        return not self.ended


@dataclass
class FakeRoom:
    num_workers: int
    there: bool = False
    released: bool = False

    def is_there(self) -> bool:
        assert not self.released
        return self.there

    def release(self) -> None:
        assert not self.released
        self.released = True


@dataclass
class Cluster:
    """Everything around a `RestartTraining`."""

    folder: RunFolder
    patience_s: float = 1e9
    gives: bool = True
    workers: int = 1
    groups: list[Group] = field(default_factory=list)
    fits: list[FakeFit] = field(default_factory=list)
    rooms: list[FakeRoom] = field(default_factory=list)
    cursor: int = 0

    def __post_init__(self) -> None:
        self.controller = Controller()
        assert self.controller.open(self.folder, lineage=0) is None
        starters = Starters(self._group, self._room, self.patience_s)
        self.training = RestartTraining(starters, self.controller, self.workers)

    def _group(self, group: Group) -> FakeFit:
        self.groups.append(group)
        self.fits.append(FakeFit())
        return self.fits[-1]

    def _room(self, num_workers: int) -> FakeRoom:
        self.rooms.append(FakeRoom(num_workers, self.gives))
        return self.rooms[-1]

    def group_begins(self, update: int = 0, time: float = 0.0) -> int:
        """Let rank 0 of a group begin; return its lineage."""
        lineage = self.controller.begin()
        self.record("run_started", lineage, update, time)
        return lineage

    def record(self, event: str, lineage: int, update: int, time: float) -> None:
        stamp = {"time": time, "lineage": lineage, "generation": 0}
        stamp |= {"update": update, "samples": 10 * update}
        self.controller.record([{"event": event, **stamp}], lineage)
        self.show()

    def show(self) -> None:
        records = self.controller.since(self.cursor).records
        self.cursor += len(records)
        for record in records:
            self.training.take(record)

    def group_ends(self, error: Exception | None = None) -> None:
        self.fits[-1].ended, self.fits[-1].error = True, error
        assert self.training.has_ended(0.0)

    def command(self, lineage: int) -> Command | None:
        found = self.controller.record([], lineage)
        if found is None:
            return None
        number, command = found
        self.controller.record([], lineage, done=number)
        return command

    def of(self, event: str) -> list[dict]:
        return [r for r in read_journal(self.folder.storage) if r["event"] == event]


@pytest.fixture
def make(tmp_path):
    clusters = []

    def make(**options) -> Cluster:
        clusters.append(Cluster(new_run(str(tmp_path), "run"), **options))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.controller.close()


def want(workers: int, reason: str = "planned", num_asked: int = 0) -> Wanted:
    return Wanted(workers, reason, num_asked)


def test_a_group_ends_and_one_of_the_wanted_size_begins_in_a_new_lineage(make):
    cluster = make()
    assert cluster.groups == [Group(1)]
    cluster.group_begins()
    cluster.training.steer(want(2))
    assert cluster.command(0) == RESIZED
    assert not cluster.rooms[0].released, "the room is kept until the group has ended"
    cluster.record("observation", 0, 7, time=100.0)
    cluster.group_ends()
    assert cluster.training.is_resizing

    assert cluster.training.start_next(want(2)) == 2

    assert cluster.rooms[0].released
    assert cluster.groups[-1] == Group(2, lineage=1)
    assert not cluster.training.is_resizing
    cluster.group_begins(update=7, time=105.5)
    assert cluster.of("fault") == []
    (resize,) = cluster.of("resize")
    assert resize["seconds"] == 5.5
    assert (resize["lineage"], resize["update"], resize["samples"]) == (1, 7, 70)
    assert (resize["before"], resize["after"], resize["joined"], resize["left"]) == (1, 2, 1, 0)
    assert resize["reason"] == "planned"


def test_nothing_is_asked_before_the_group_trains_or_while_the_number_is_right(make):
    cluster = make()
    cluster.training.steer(want(2))
    cluster.group_begins()
    cluster.training.steer(want(1))

    assert cluster.command(0) is None
    assert cluster.rooms == []


def test_a_smaller_group_needs_no_room(make):
    cluster = make(workers=3)
    cluster.group_begins()
    cluster.training.steer(want(1))
    assert cluster.command(0).stop == "resized"
    cluster.group_ends()

    assert cluster.training.start_next(want(1)) == 1
    cluster.group_begins()
    (resize,) = cluster.of("resize")
    assert (resize["joined"], resize["left"]) == (0, 2)
    assert cluster.rooms == []


def test_the_group_trains_on_until_the_room_is_there_and_is_asked_once(make):
    cluster = make(gives=False)
    cluster.group_begins()
    for _ in range(3):
        cluster.training.steer(want(2))
    assert cluster.command(0) is None
    assert len(cluster.rooms) == 1
    cluster.rooms[0].there = True
    cluster.training.steer(want(2))
    assert cluster.command(0) == RESIZED
    cluster.training.steer(want(2))
    assert cluster.command(0) is None


def test_a_cluster_that_never_delivers_costs_nothing_but_the_wish(make):
    cluster = make(gives=False, patience_s=0.0)
    cluster.group_begins()
    cluster.training.steer(want(2))

    (fault,) = cluster.of("fault")
    assert fault["what"] == "2 workers did not come"
    assert fault["detail"].endswith("elastic.start_s = 0 s; training goes on with 1")
    assert cluster.rooms[0].released
    cluster.training.steer(want(2))
    assert len(cluster.rooms) == 1
    assert cluster.command(0) is None


def test_a_wish_that_was_given_up_counts_again_when_it_is_said_again(make):
    cluster = make(gives=False, patience_s=0.0)
    cluster.group_begins()
    cluster.training.steer(want(2))
    cluster.gives = True
    cluster.training.steer(want(2, num_asked=1))

    assert cluster.command(0) == RESIZED


def test_a_wish_that_is_withdrawn_or_changed_gives_its_room_back(make):
    cluster = make(gives=False)
    cluster.group_begins()
    cluster.training.steer(want(3))
    cluster.training.steer(want(2))
    cluster.training.steer(want(1))

    assert [(room.num_workers, room.released) for room in cluster.rooms] == [(2, True), (1, True)]
    assert cluster.command(0) is None


@pytest.mark.parametrize(("later", "started"), [(1, 1), (2, 2), (3, 2)])
def test_a_wish_that_changes_while_the_group_ends_takes_what_there_is_room_for(
    make, later, started
):
    cluster = make()
    cluster.group_begins()
    cluster.training.steer(want(2, "first"))
    cluster.group_ends()

    assert cluster.training.start_next(want(later, "second")) == started
    cluster.group_begins()
    (resize,) = cluster.of("resize")
    assert (resize["before"], resize["after"]) == (1, started)
    assert resize["reason"] == ("first" if later != started else "second")
    cluster.training.steer(want(later, "second"))
    assert len(cluster.rooms) == (2 if later == 3 else 1)


def test_closing_takes_the_demand_back(make):
    cluster = make(gives=False)
    cluster.group_begins()
    cluster.training.steer(want(3))
    cluster.training.close()
    cluster.training.close()

    assert [room.released for room in cluster.rooms] == [True]


def test_a_group_that_is_lost_with_the_command_leaves_it_to_its_successor(make):
    cluster = make()
    cluster.group_begins()
    cluster.training.steer(want(2))
    assert cluster.command(0) == RESIZED
    successor = cluster.group_begins()

    assert cluster.command(successor) == RESIZED
    assert cluster.of("resize") == []
    cluster.group_ends()
    cluster.training.start_next(want(2))
    assert cluster.groups[-1] == Group(2, lineage=2, num_lost=1)


def test_a_command_that_nobody_took_does_not_end_the_next_group(make):
    cluster = make()
    cluster.group_begins()
    cluster.training.steer(want(2))
    cluster.group_ends()
    cluster.training.start_next(want(2))

    assert cluster.command(cluster.group_begins()) is None


def test_a_new_group_that_is_lost_before_it_trains_is_a_fault_and_one_resize(make):
    cluster = make()
    cluster.group_begins()
    cluster.training.steer(want(2))
    cluster.group_ends()
    cluster.training.start_next(want(2))
    cluster.controller.begin()
    cluster.group_begins()

    assert len(cluster.of("fault")) == 1
    assert [r["lineage"] for r in cluster.of("resize")] == [2]


def test_the_error_of_the_last_group_is_kept(make):
    cluster = make()
    cluster.group_begins()
    error = RuntimeError("no node")
    cluster.group_ends(error)

    assert cluster.training.error is error
    assert not cluster.training.is_resizing


def test_clocks_that_differ_make_no_negative_stall(make):
    cluster = make()
    cluster.group_begins()
    cluster.training.steer(want(2))
    cluster.record("observation", 0, 7, time=2e9)
    cluster.group_ends()
    cluster.training.start_next(want(2))
    cluster.group_begins(time=1e9)

    (resize,) = cluster.of("resize")
    assert resize["seconds"] == 0
    assert min(resize["phases"].values()) == 0

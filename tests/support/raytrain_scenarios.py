"""What happens to worker groups inside Ray Train, one function each; see `run_in_ray`."""

import functools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from ray.exceptions import RayActorError
from ray.train import WorkerGroupError
from scripted_group import Group, ended, filled, train_controllers

from cluster.elastic.places import release_placement_groups

Start = Callable[..., Group]


def scenario(function: Callable[[Start], None]) -> Callable[[Path], None]:
    """Give a function something that starts groups, and end them after it."""

    @functools.wraps(function)
    def run(folder: Path) -> None:
        groups: list[Group] = []

        def start(num_workers: int, **options: int) -> Group:
            groups.append(Group(folder, num_workers, **options))
            return groups[-1]

        try:
            function(start)
        finally:
            ended(groups)

    return run


@scenario
def join_leave_and_loss(start: Start) -> None:
    group = start(1)
    (first,) = group.dialled(1)
    group.join(0, first)
    assert group.facts(first)["context"] == (0, 1, 0, 1, 0)

    # Two newcomers join; one of them comes before the first worker.
    group.write(missing=2)
    _, second, third = group.dialled(3)
    assert group.facts(third)["context"] == (0, 1, 0, 1, 0)
    group.expect_room(3)
    group.join(1, second, first, third)
    assert group.facts(first)["context"] == (1, 3, 1, 3, 0)
    for label in (first, second, third):
        assert group.facts(label)["variables"] == group.facts(label)["context"]
        assert group.facts(label)["logged"] == group.facts(label)["context"][0]
        assert group.facts(label)["device"] == "cpu"
    assert group.workers_known_to_ray(3) == [second, first, third]

    # One leaves: what it held goes back to the cluster.
    pid = group.facts(third)["pid"]
    group.join(2, second, first)
    group.tell(third, "return", "left")
    group.expect_room(2)
    group.expect_gone(pid)

    # The worker in the first group's bundle is killed; a newcomer takes its place.
    os.kill(group.facts(first)["pid"], signal.SIGKILL)
    group.until(lambda now: first in now["lost"])
    group.join(3, second)
    group.write(missing=1)
    _, fourth = group.dialled(2)
    group.expect_room(2)
    group.join(4, second, fourth)

    # Checkpoints are known to Ray by pointers, even if the last comes late.
    for update in (10, 20):
        group.checkpoint(update=update, samples=16 * update, location=f"/{update}")
        group.write()
    group.stall(True)
    for label in (second, fourth):
        group.tell(label, "return", "epochs")
    group.until(lambda now: not now["living"])
    group.checkpoint(update=30, samples=480, location="/30")
    group.stall(False)
    result = group.finish()
    assert result.metrics == {"update": 30, "samples": 480}
    with result.checkpoint.as_directory() as folder:
        assert json.loads(Path(folder, "absa-checkpoint.json").read_text()) == {"checkpoint": "/30"}
    assert group.pointers() == [{"checkpoint": "/30"}]
    group.expect_room(0)


@scenario
def withdrawal_and_ends(start: Start) -> None:
    group = start(1)
    (member,) = group.dialled(1)
    group.join(0, member)

    # A newcomer that finds no room is given up when it is not wanted any more.
    with filled(keep=0.5):
        group.write(missing=1)
        group.expect_room(3)
        group.write(missing=0)
        group.expect_room(2)

    # A process that hangs is ended when the orders say so.
    group.write(missing=1)
    _, newcomer = group.dialled(2)
    pid = group.facts(newcomer)["pid"]
    os.kill(pid, signal.SIGSTOP)
    group.write(end=frozenset({newcomer}))
    group.expect_gone(pid)
    group.expect_room(1)

    # What goes wrong with a newcomer is no matter of the group's.
    group.hang_up(newcomer)
    group.write(missing=1)
    _, newcomer = group.dialled(2)
    group.tell(newcomer, "raise", "cannot warm up")
    group.expect_room(1)
    group.until(lambda now: newcomer in now["lost"])

    # What goes wrong with a member is Ray's.
    group.tell(member, "raise", "cannot train")
    with pytest.raises(WorkerGroupError) as error:
        group.finish()
    assert "cannot train" in str(error.value.worker_failures[0])
    group.expect_room(0)


@scenario
def loss_of_all_and_of_the_controller(start: Start) -> None:
    group = start(1, max_failures=2)
    (member,) = group.dialled(1)
    group.join(0, member)
    group.checkpoint(update=10, samples=160, location="/10")
    group.write(missing=1)
    _, newcomer = group.dialled(2)
    pids = [group.facts(label)["pid"] for label in (member, newcomer)]
    os.kill(pids[0], signal.SIGKILL)

    # Ray starts the group again, from the checkpoint that it knows.
    now = group.until(lambda now: set(now["living"]) - {member, newcomer})
    (again,) = set(now["living"]) - {member, newcomer}
    assert now["living"][again]["checkpoint"]
    for pid in pids:
        group.expect_gone(pid)
    group.expect_room(1)
    group.hang_up(newcomer)
    group.join(1, again)

    # A group that everybody has left is lost as well: the run has not ended.
    group.checkpoint(update=20, samples=320, location="/20")
    group.write()
    group.tell(again, "return", "left")
    group.until(lambda now: set(now["living"]) - {again})
    (pointer,) = group.pointers()
    assert pointer == {"checkpoint": "/20"}

    # Without Ray Train's controller its placement groups can still be released.
    group.write(missing=1)
    pids = [group.facts(label)["pid"] for label in group.dialled(2)]
    (controller,) = train_controllers()
    controller.kill()
    with pytest.raises(RayActorError):
        group.finish()
    for pid in pids:
        group.expect_gone(pid)
    group.expect_room(2)
    assert release_placement_groups(group.trainer.prefix) == 2
    group.expect_room(0)
    assert release_placement_groups(group.trainer.prefix) == 0

"""What happens to worker groups inside Ray Train, one function each; run in a Ray of their own.

Ray reads its settings when it is imported, so a process that is told names of functions runs them:
``python raytrain_scenarios.py FOLDER``.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from cluster.load_job import load_job
from cluster.own_ray import own_ray
from cluster.ray_session import ray_environment


def join_leave_and_loss(start: Callable) -> None:
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
        assert group.facts(label)["device"] == "cpu"

    # One leaves: what it held goes back to the cluster.
    pid = group.facts(third)["pid"]
    group.join(2, second, first)
    group.tell(third, "return", "left")
    group.expect_room(2)
    group.expect_gone(pid)

    # The worker in the first group's bundle is killed; a newcomer takes its place.
    os.kill(group.facts(first)["pid"], signal.SIGKILL)
    group.until(lambda now: now["lost"] == {first})
    group.join(3, second)
    group.write(missing=1)
    _, fourth = group.dialled(2)
    group.expect_room(2)
    group.join(4, second, fourth)

    # A checkpoint that arrives at the very end is known to Ray, by a pointer.
    for update in (10, 20):
        group.checkpoint(update=update, samples=16 * update, location=f"/{update}")
        group.write()
    group.checkpoint(update=30, samples=480, location="/30")
    for label in (second, fourth):
        group.tell(label, "return", "epochs")
    result = group.finish()
    assert result.metrics == {"update": 30, "samples": 480}
    with result.checkpoint.as_directory() as folder:
        assert json.loads(Path(folder, "absa-checkpoint.json").read_text()) == {"checkpoint": "/30"}
    assert len(list(Path(result.path).glob("checkpoint_0*"))) == 1
    group.expect_room(0)


def main(folder: Path) -> None:
    """Run the functions named on the standard input; answer each with "" or a traceback."""
    with ray_environment(load_job(None)), own_ray():
        from scripted_group import Group, ended

        for number, name in enumerate(map(str.strip, sys.stdin)):
            groups: list[Group] = []

            def start(num_workers: int, number: int = number, **options: int) -> Group:
                groups.append(Group(folder / str(number), num_workers, **options))
                return groups[-1]

            answer = ""
            try:
                globals()[name](start)
            except BaseException:
                answer = traceback.format_exc()
            ended(groups)
            os.write(ANSWERS, (json.dumps(answer) + "\n").encode())


if __name__ == "__main__":
    ANSWERS = os.dup(1)
    os.dup2(2, 1)
    main(Path(sys.argv[1]))

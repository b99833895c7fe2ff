"""Workers join and leave inside Ray Train, by orders that each test writes."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.soak]

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(scope="module")
def run(own_environment, tmp_path_factory) -> Iterator[Callable[[str], None]]:
    """Run a scenario in a process that has a Ray of its own."""
    folder = tmp_path_factory.mktemp("raytrain")
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            [sys.executable, str(SUPPORT / "run_in_ray.py"), "raytrain_scenarios", str(folder)],
            env=own_environment(folder, RAY_TRAIN_ENABLE_STATE_TRACKING="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(name: str) -> None:
            print(name, file=process.stdin, flush=True)
            answer = process.stdout.readline()
            assert answer, Path(output.name).read_text()
            assert json.loads(answer) == "", json.loads(answer)

        yield ask
        process.stdin.close()
        process.wait()
        process.stdout.close()


def test_workers_join_leave_and_are_lost_while_the_run_goes_on(run):
    run("join_leave_and_loss")


def test_newcomers_are_withdrawn_and_ended_and_their_errors_hidden_but_not_those_of_members(run):
    run("withdrawal_and_ends")


def test_a_lost_group_is_started_again_and_a_lost_controller_holds_nothing(run):
    run("loss_of_all_and_of_the_controller")

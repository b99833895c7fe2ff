"""What a worker inside Ray Train leaves behind when it ends, well or badly; no Ray is started."""

import pytest
from ray.exceptions import RayActorError

from cluster.elastic.ray_worker import RaySurroundings


class Ends:
    """A link or a saver; it may fail when it is closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.closed = error, False

    def close(self) -> None:
        self.closed = True
        if self.error is not None:
            raise self.error

    def __exit__(self, kind, error, traceback) -> None:
        self.close()


def around(link: Ends, saver: Ends) -> RaySurroundings:
    surroundings = RaySurroundings(None, None, None, None, "here")
    surroundings._link, surroundings._saver = link, saver
    return surroundings


def test_what_was_recorded_and_saved_arrives_even_if_training_failed():
    link, saver = Ends(), Ends()
    with pytest.raises(KeyError), around(link, saver):
        raise KeyError("the task's")
    assert (link.closed, saver.closed) == (True, True)


def test_a_controller_that_is_gone_does_not_hide_why_training_failed():
    with pytest.raises(KeyError), around(Ends(RayActorError()), Ends()):
        raise KeyError("the task's")


@pytest.mark.parametrize("failing", ["link", "saver"])
def test_a_run_that_ended_well_is_told_what_did_not_arrive(failing):
    link, saver = Ends(), Ends()
    {"link": link, "saver": saver}[failing].error = RayActorError()
    with pytest.raises(RayActorError), around(link, saver):
        pass
    assert (link.closed, saver.closed) == (True, True)

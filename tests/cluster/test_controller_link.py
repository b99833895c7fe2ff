import threading

import pytest

from absa.boundary import Command
from cluster import controller_link
from cluster.controller_link import ControllerLink, NoLink


class FakeController:
    """Stands for the actor; its answers are given by whoever holds it."""

    def __init__(self) -> None:
        self.records: list[dict] = []
        self.calls = threading.Semaphore(0)
        self.commands: list[Command] = []
        self.error: Exception | None = None
        self.record = self

    def remote(self, records: list[dict], lineage: int):
        self.records += records
        self.calls.release()
        if self.error is not None:
            raise self.error
        return self.commands.pop() if self.commands else None

    def wait_for_calls(self, number: int) -> None:
        for _ in range(number):
            assert self.calls.acquire(timeout=60)


@pytest.fixture
def controller(monkeypatch) -> FakeController:
    monkeypatch.setattr(controller_link.ray, "get", lambda value: value)
    monkeypatch.setattr(controller_link, "PERIOD_S", 0.001)
    return FakeController()


def test_close_returns_once_every_record_is_delivered_in_order(controller):
    link = ControllerLink(controller, lineage=0)
    for update in range(100):
        link.record({"update": update})
    link.close()

    assert [r["update"] for r in controller.records] == list(range(100))


def test_a_command_waits_until_it_is_taken_once(controller):
    controller.commands.append(Command("now"))
    link = ControllerLink(controller, lineage=0)
    controller.wait_for_calls(2)

    assert link.waiting()
    assert link.take() == Command("now")
    assert not link.waiting()
    link.close()


def test_a_second_command_does_not_replace_one_that_waits(controller):
    controller.commands += [Command("second"), Command("first")]
    link = ControllerLink(controller, lineage=0)
    controller.wait_for_calls(3)

    assert [link.take(), link.take()] == [Command("first"), Command("second")]
    assert not link.waiting()
    link.close()


def test_training_does_not_go_on_unheard(controller):
    controller.error = ConnectionError("the controller is gone")
    link = ControllerLink(controller, lineage=0)
    controller.wait_for_calls(1)

    for call in (link.close, link.waiting, lambda: link.record({})):
        with pytest.raises(ConnectionError, match="gone"):
            call()


def test_other_ranks_have_nobody_to_talk_to():
    link = NoLink()
    link.record({})
    link.close()

    assert not link.waiting()
    with pytest.raises(LookupError):
        link.take()

import threading

import pytest

from absa.boundary import Command
from cluster import controller_link
from cluster.controller_link import ControllerLink


class FakeController:
    """Stands for the actor; its answers are given by whoever holds it."""

    def __init__(self) -> None:
        self.records: list[dict] = []
        self.calls = threading.Semaphore(0)
        self.command: tuple[int, Command] | None = None
        self.done: list[int] = []
        self.error: Exception | None = None
        self.record = self

    def remote(self, records: list[dict], lineage: int, generation: int, done: int):
        self.records += records
        self.done.append(done)
        self.calls.release()
        if self.error is not None:
            raise self.error
        return self.command

    def wait_for_calls(self, number: int) -> None:
        for _ in range(number):
            assert self.calls.acquire(timeout=300)

    def wait_for_three_new_calls(self) -> None:
        """The first may have begun before now; the third knows what the second one returned."""
        while self.calls.acquire(blocking=False):
            pass
        self.wait_for_calls(3)


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


def test_a_command_stays_the_same_until_it_is_in_force(controller):
    controller.command = (1, Command("now"))
    link = ControllerLink(controller, lineage=0)
    controller.wait_for_calls(2)

    assert link.waiting()
    for _ in range(2):  # the first time, a peer was lost before all had heard of it
        assert link.take() == Command("now")
    assert not link.waiting()
    controller.wait_for_three_new_calls()
    assert controller.done[-1] == 1
    assert not link.waiting()
    link.close()


def test_a_newer_command_is_taken_after_the_one_in_hand(controller):
    controller.command = (1, Command("first"))
    link = ControllerLink(controller, lineage=0)
    controller.wait_for_calls(2)
    assert link.take() == Command("first")
    controller.command = (2, Command("second"))
    controller.wait_for_three_new_calls()

    assert link.waiting()
    assert link.take() == Command("second")
    assert not link.waiting()
    link.close()


def test_flush_returns_once_every_record_is_delivered(controller):
    link = ControllerLink(controller, lineage=0)
    link.record({"update": 1})
    link.flush()

    assert [r["update"] for r in controller.records] == [1]
    link.close()


def test_training_does_not_go_on_unheard(controller):
    controller.error = ConnectionError("the controller is gone")
    link = ControllerLink(controller, lineage=0)
    controller.wait_for_calls(1)

    for call in (link.close, link.flush, link.waiting, lambda: link.record({})):
        with pytest.raises(ConnectionError, match="gone"):
            call()

import signal
import threading

import pytest

from cluster.interrupt import handlers_kept, interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_training_a_signal_ends_the_process(number):
    with interrupts() as interrupt, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert not interrupt.asked.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_training_the_first_signal_is_a_request(number):
    with interrupts() as interrupt:
        interrupt.defer()
        assert not interrupt.asked.is_set()
        signal.raise_signal(number)
        assert interrupt.asked.is_set()


def test_a_second_ctrl_c_ends_at_once_but_a_second_sigterm_does_not():
    with interrupts() as interrupt:
        interrupt.defer()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_handlers_from_before_come_back():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ValueError, match="inside"), interrupts():
        raise ValueError("inside")

    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_library_cannot_take_the_handlers_away():
    with interrupts() as interrupt:
        with handlers_kept():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        assert signal.getsignal(signal.SIGTERM) == interrupt.handle


def test_outside_the_main_thread_nothing_is_handled():
    found = []

    def work() -> None:
        with handlers_kept(), interrupts() as interrupt:
            found.append(interrupt.asked.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]

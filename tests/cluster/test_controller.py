import pytest

from absa.boundary import Command
from absa.errors import CheckpointError
from absa.journal import open_journal, read_journal
from absa.run_folder import RunFolder, new_run
from cluster.controller import Controller, Failure, ReplacedError
from cluster.elastic.membership import Membership
from cluster.elastic.protocol.coordinator import Limits


def record(update: int, lineage: int = 0, event: str = "observation") -> dict:
    return {
        "event": event,
        "time": 0.0,
        "lineage": lineage,
        "generation": 0,
        "update": update,
        "samples": 10 * update,
    }


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return new_run(str(tmp_path), "run")


@pytest.fixture
def controller(folder):
    controller = Controller()
    assert controller.open(folder, lineage=0) is None
    yield controller
    controller.close()


def test_records_go_to_the_journal_and_to_whoever_asks_for_news(controller, folder):
    lineage = controller.begin()
    controller.record([record(1), record(2)], lineage)
    controller.record([record(3)], lineage)

    assert [r["update"] for r in read_journal(folder.storage)] == [1, 2, 3]
    assert [r["update"] for r in controller.since(1).records] == [2, 3]
    assert controller.since(3).records == []


def test_a_command_is_handed_out_until_it_is_done(controller):
    lineage = controller.begin()
    controller.command(Command("first"))
    controller.record([], lineage, done=1)
    controller.command(Command("second"))

    for _ in range(2):
        assert controller.record([], lineage) == (2, Command("second"))
    assert controller.record([], lineage, done=2) is None
    assert controller.record([], lineage) is None


def test_commands_that_were_not_taken_yet_are_handed_out_as_one(controller):
    lineage = controller.begin()
    controller.command(Command("ctrl-c", stop="interrupted"))
    controller.command(Command("hold", hold=True, max_batch=128))
    controller.command(Command("bound", max_batch=64))

    number, command = controller.record([], lineage)
    assert number == 3
    assert (command.stop, command.hold, command.max_batch) == ("interrupted", True, 64)
    assert command.reason == "ctrl-c; hold; bound"


def test_what_was_asked_beside_a_resize_is_left_for_the_next_group(controller):
    controller.begin()
    controller.command(Command("resize", stop="resized"))
    controller.command(Command("hold", hold=True))
    lineage = controller.expect_group()
    assert controller.begin() == lineage
    _, command = controller.record([], lineage)
    assert (command.stop, command.hold) == (None, True)


def test_a_command_that_a_lost_rank_0_had_goes_to_the_next_one(controller):
    lineage = controller.begin()
    controller.command(Command("stop"))
    controller.record([], lineage, generation=3)

    assert controller.record([], lineage, generation=4) == (1, Command("stop"))


def test_a_rank_0_that_was_replaced_in_its_lineage_can_write_nothing(controller):
    lineage = controller.begin()
    controller.record([record(1)], lineage, generation=3)
    controller.record([record(2)], lineage, generation=4)

    with pytest.raises(ReplacedError):
        controller.record([record(2)], lineage, generation=3)
    assert [r["update"] for r in controller.since(0).records] == [1, 2]


def test_the_end_of_a_run_is_journalled_once(controller):
    lineage = controller.begin()
    for generation in (3, 4):
        controller.record([{**record(9), "event": "run_ended"}], lineage, generation)

    assert len(controller.since(0).records) == 1


def test_every_group_after_the_first_is_a_new_lineage_with_a_fault(controller, folder):
    assert controller.begin() == 0
    controller.record([record(7)], 0)
    assert controller.begin() == 1

    *_, fault = read_journal(folder.storage)
    assert (fault["event"], fault["lineage"], fault["update"]) == ("fault", 1, 7)


def test_a_group_lost_before_its_first_record_is_journalled_too(controller, folder):
    controller.begin()
    controller.begin()

    (fault,) = read_journal(folder.storage)
    assert (fault["update"], fault["lineage"]) == (0, 1)


def test_a_replaced_group_can_neither_record_nor_fail_the_run_nor_take_a_command(controller):
    old, new = controller.begin(), controller.begin()
    controller.command(Command("for the new one"))
    seen = len(controller.since(0).records)

    with pytest.raises(ReplacedError):
        controller.record([record(9)], old)
    with pytest.raises(ReplacedError):
        controller.fail(Failure("late", 3), old)

    assert len(controller.since(0).records) == seen
    assert controller.since(0).failure is None
    assert controller.record([], new) == (1, Command("for the new one"))


def test_the_first_failure_counts(controller):
    lineage = controller.begin()
    controller.fail(Failure("cause", 3), lineage)
    controller.fail(Failure("consequence", 3), lineage)

    assert controller.since(0).failure == Failure("cause", 3)


def test_it_says_whether_workers_have_come(controller):
    assert not controller.since(0).has_workers
    controller.begin()
    assert controller.since(0).has_workers


def test_giving_up_is_refused_once_something_has_happened(controller):
    lineage = controller.begin()
    controller.record([record(1)], lineage)

    assert not controller.give_up()
    controller.record([record(2)], lineage)


def test_after_giving_up_nothing_is_recorded(controller, folder):
    lineage = controller.begin()

    assert controller.give_up()
    with pytest.raises(ReplacedError):
        controller.record([record(1)], lineage)
    assert read_journal(folder.storage) == []


def test_after_giving_up_a_group_that_comes_late_does_not_begin(controller, folder):
    assert controller.give_up()
    with pytest.raises(ReplacedError):
        controller.begin()
    assert read_journal(folder.storage) == []


def test_a_resumed_run_begins_at_its_own_lineage_without_a_fault(folder):
    controller = Controller()
    controller.open(folder, lineage=4)

    assert controller.begin() == 4
    assert controller.since(0).records == []
    controller.close()


def test_a_run_that_somebody_writes_is_refused_with_their_process(folder):
    with open_journal(folder.storage, 0):
        failure = Controller().open(folder, lineage=0)

    assert failure is not None
    assert failure.exit_code == 2
    assert "is being written by process" in failure.message


def test_a_journal_that_cannot_be_written_ends_the_run(controller):
    lineage = controller.begin()
    controller.record([record(1, lineage=3)], lineage)
    with pytest.raises(CheckpointError):
        controller.record([record(2, lineage=0)], lineage)

    assert "must not write" in controller.since(0).failure.message


def test_closing_without_a_journal_does_nothing():
    Controller().close()


def test_an_expected_group_is_a_new_lineage_without_a_fault_and_one_after_it_is_not(controller):
    controller.begin()
    controller.record([record(7)], 0)

    assert controller.expect_group() == 1
    assert controller.begin() == 1
    assert controller.since(1).records == []
    controller.begin()
    assert [r["event"] for r in controller.since(1).records] == ["fault"]


def test_a_command_to_be_resized_is_not_left_to_the_group_that_comes_for_it(controller):
    controller.begin()
    controller.command(Command("resized", stop="resized"))
    controller.expect_group()
    assert controller.record([], controller.begin()) is None


def test_a_command_to_stop_is_left_to_the_next_group(controller):
    controller.begin()
    controller.command(Command("interrupted", stop="interrupted"))
    controller.expect_group()
    assert controller.record([], controller.begin())[1].stop == "interrupted"


def test_while_a_group_is_expected_a_run_can_be_given_up(controller):
    controller.begin()
    controller.record([record(1)], 0)
    controller.expect_group()

    assert controller.give_up()
    with pytest.raises(ReplacedError):
        controller.begin()


def test_a_note_is_stamped_like_the_newest_record_where_it_says_nothing(controller, folder):
    lineage = controller.begin()
    controller.record([record(7)], lineage)
    controller.note({"event": "fault", "what": "x", "samples": 5, "lineage": 0})

    note = read_journal(folder.storage)[-1]
    assert (note["update"], note["samples"], note["generation"], note["what"]) == (7, 5, 0, "x")
    assert controller.since(1).records == [note]


def test_a_note_on_a_lineage_that_was_replaced_meanwhile_is_of_the_newest(controller):
    controller.begin()
    controller.record([record(7)], 0)
    controller.begin()
    controller.note({"event": "resize", "lineage": 0})

    assert controller.since(0).records[-1]["lineage"] == 1
    assert controller.since(0).failure is None


FAILURE = Failure("worker 1: the task failed: a long story", 3)


def test_who_fails_before_anybody_has_trained_ends_the_run(controller):
    controller.begin()
    controller.fail(FAILURE, None, "KeyError: 'x'")

    assert controller.since(0).failure == FAILURE


def test_who_fails_before_it_has_trained_is_told_of_once_and_the_run_goes_on(controller):
    lineage = controller.begin()
    controller.record([record(7)], lineage)
    for _ in range(3):
        controller.fail(FAILURE, None, "KeyError: 'x'")
    controller.fail(FAILURE, None, "KeyError: 'y'")

    news = controller.since(0)
    assert news.failure is None
    told = [(r["what"], r["detail"], r["update"]) for r in news.records if r["event"] == "fault"]
    assert told == [
        ("a new worker failed", "KeyError: 'x'", 7),
        ("a new worker failed", "KeyError: 'y'", 7),
    ]


def test_a_resize_says_why_so_many_workers_are_wanted_unless_some_were_lost(controller):
    controller.invite(Limits(), 1, "127.0.0.1")
    controller.wish(2, "asked for by an operator")
    resize = record(1, event="resize") | {"lost": 0, "reason": "1 joined"}
    loss = record(2, event="resize") | {"lost": 1, "reason": "1 lost"}
    controller.record([resize, loss], controller.begin())

    reasons = [r["reason"] for r in controller.since(0).records]
    assert reasons == ["asked for by an operator", "1 lost"]


def test_workers_are_there_as_soon_as_one_has_called_though_it_does_not_train_yet(controller):
    invitation = controller.invite(Limits(), 1, "127.0.0.1")
    assert not controller.since(0).has_workers
    membership = Membership(invitation, "a", "127.0.0.1")

    assert controller.since(0).has_workers
    membership.close()

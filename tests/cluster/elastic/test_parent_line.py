"""Commands between a parent and its worker processes, over real pipes."""

import multiprocessing

import pytest

from absa.boundary import Command
from cluster.elastic.parent_line import Commands, InForce, ParentLine

FIRST, SECOND = Command("first", global_batch=48), Command("second", global_batch=96)


@pytest.fixture
def pipes():
    made = [multiprocessing.Pipe() for _ in range(2)]
    yield [mine for mine, _ in made], [ParentLine(theirs) for _, theirs in made]
    for pipe in made:
        for end in pipe:
            end.close()


def carry_out(worker: ParentLine) -> Command:
    assert worker.waiting()
    command = worker.take()
    assert not worker.waiting()
    return command


def test_the_next_rank_0_does_not_repeat_what_was_carried_out(pipes):
    lines, (first, second) = pipes
    commands = Commands()
    for command in (FIRST, SECOND):
        commands.leave(command, lines)
        assert carry_out(first) == command
        commands.done(lines[0].recv(), lines)

    assert not second.waiting()


def test_the_next_rank_0_carries_out_what_was_not_even_if_it_came_later(pipes):
    lines, (first, late) = pipes
    commands = Commands()
    commands.leave(FIRST, lines[:1])
    assert first.waiting()
    assert first.take() == FIRST  # and is lost before all have heard of it
    commands.greet(lines[1])

    assert carry_out(late) == FIRST
    assert lines[1].recv() == InForce(1)


def test_a_command_stays_the_same_until_it_is_in_force_and_a_newer_one_follows(pipes):
    lines, (worker, _) = pipes
    commands = Commands()
    commands.leave(FIRST, lines)
    assert worker.waiting()
    assert [worker.take(), worker.take()] == [FIRST, FIRST]
    commands.leave(SECOND, lines)

    assert carry_out(worker) == SECOND
    commands.done(InForce(1), lines)  # of the older one
    commands.done(lines[0].recv(), lines)
    assert not worker.waiting()


def test_a_worker_that_has_just_ended_holds_up_nobody(pipes):
    lines, (_, worker) = pipes
    lines[0].close()
    Commands().leave(FIRST, lines)
    assert carry_out(worker) == FIRST


def test_records_say_where_their_writer_stands(pipes):
    lines, (worker, _) = pipes
    worker.number = (1, 7)
    worker.record({"event": "x"})
    assert lines[0].recv() == ((1, 7), {"event": "x"})

"""A rank that goes on where another stands, in another group."""

import pytest
from breaking import BreakingRank, LaterBoundary, LostError, Meeting, Survivor, in_threads
from engine import Classify, Explodes, Points, normed_network, same_bits
from outside import FakeSaver, Run, constant_lr, rules

from absa.boundary import Command
from absa.collective import SingleProcess
from absa.errors import DivergenceError
from absa.outside import Outside
from absa.run_state import restore
from absa.state import clone_to_host
from absa.stop import StopConfig

VERDICTS = ["host", "device"]
LARGER = Command("a larger batch", global_batch=6)


def make_run(plan=None, verdict="host", commands=None, task=None, **others):
    options = {"optimizer": "lars", "bn_group": 2, "verdict": verdict}
    task = task or Classify(Points(40), normed_network)
    plan = plan or rules(learning_rate=constant_lr(scaling="linear"))
    run = Run(task, plan, options=options, **others)
    training = run.loop._training
    run.boundary = LaterBoundary(commands or {}, lambda: training.progress.updates)
    training.outside = outside_of(run, run.collective)
    return run


def newcomer(*arguments, **others):
    """A run whose loop talks to nobody yet."""
    run = make_run(*arguments, **others)
    run.loop._training.outside = Outside(SingleProcess(), run.boundary, FakeSaver())
    return run


def outside_of(run, collective=None):
    return Outside(collective or SingleProcess(), run.boundary, run.saver, lineage=2, generation=6)


def tensors(run):
    return clone_to_host(run.loop._training.tree()).tensors


def steps(run, number):
    return [run.loop.step() for _ in range(number)]


def finish(run):
    while (then := run.loop.step()) != "end":
        assert then == "update"
    run.outcome = run.loop.end()
    return run


def hand_over(source, *ranks, collective=None):
    """Let ranks stand where a source stands; the source itself goes on if it is one of them."""
    tree = clone_to_host(source.loop.hand_over())
    for rank in ranks:
        state = restore(rank.replica, tree)
        rank.loop.join(outside_of(rank, collective), state, tree.values)


class Lapsing(SingleProcess):
    """A group of one that may be over."""

    over = False

    def ensure_current(self):
        if Lapsing.over:
            raise LostError


@pytest.mark.parametrize("verdict", VERDICTS)
def test_an_update_that_may_not_be_applied_changes_nothing_and_can_be_repeated(
    verdict, monkeypatch
):
    commands = {3: LARGER}
    run = make_run(verdict=verdict, commands=commands, collective=Lapsing())
    undisturbed = finish(make_run(verdict=verdict, commands=commands))
    steps(run, 2)
    training = run.loop._training
    before, progress, position = tensors(run), training.progress, run.loop.position
    monkeypatch.setattr(Lapsing, "over", True)
    for _ in range(2):
        with pytest.raises(LostError):
            run.loop.step()
    same_bits(tensors(run), before)
    assert (training.progress, run.loop.position) == (progress, position)
    monkeypatch.undo()
    finish(run)  # the command that was announced in vain is announced again
    same_bits(tensors(run), tensors(undisturbed))
    assert run.outcome == undisturbed.outcome
    assert run.boundary.taken == 1


@pytest.mark.parametrize("known", [{0: 2}, {1: 2}, {0: 2, 1: 3}, {0: 2, 1: 2}])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_newer_group_is_seen_by_all_ranks_at_one_boundary_and_left_for_once(verdict, known):
    """``known``: by rank, after how many updates it knows of the group."""
    groups, between, seen = [Meeting(2), Meeting(2)], Meeting(2), {}
    ranks = [Survivor(make_run(verdict=verdict), rank, between, groups) for rank in range(2)]

    def train(rank):
        loop, then = rank.run.loop, "update"
        rank.enter(groups[0])
        while then == "update":
            if rank.rank in known:
                updates = loop._training.progress.updates
                rank.collective.superseded = updates >= known[rank.rank]
            then = loop.step()
        seen[rank.rank] = (then, loop._training.progress.samples)
        rank.go_over(groups[1])
        finish(rank.run)

    in_threads([lambda rank=rank: train(rank) for rank in ranks])
    assert seen[0] == seen[1] == ("regroup", 12 if verdict == "host" else 16)
    for rank in ranks:
        assert rank.run.outcome.reason == "updates"
        same_bits(tensors(rank.run), tensors(ranks[0].run))
    assert ranks[0].run.saver.why() == [(24, "end")]


def test_a_group_that_was_to_be_left_and_failed_is_not_left_again():
    run = make_run(rules(evaluate_samples=8))
    collective = BreakingRank(0, 1, Meeting(1, {0: 0}))
    run.loop._training.outside = outside_of(run, collective)
    steps(run, 1)
    collective.superseded = True
    with pytest.raises(LostError):
        run.loop.step()  # the evaluation, at the boundary where it would have been left
    hand_over(run, run)
    assert steps(run, 3) == ["update"] * 3
    assert [record["samples"] for record in run.boundary.of("evaluation")] == [8, 16]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_command_that_is_on_its_way_is_not_asked_for_again(verdict):
    undisturbed = finish(make_run(verdict=verdict, commands={2: LARGER}))
    run = make_run(verdict=verdict, commands={2: LARGER})
    steps(run, 2)
    hand_over(run, run)
    finish(run)
    assert run.boundary.taken == 1
    same_bits(tensors(run), tensors(undisturbed))
    assert run.outcome == undisturbed.outcome


def test_the_next_rank_0_goes_on_without_a_command_that_only_the_lost_one_had():
    run, heir = make_run(commands={2: LARGER}), newcomer()
    run.loop._training.outside = outside_of(run, BreakingRank(0, 1, Meeting(1, {0: 0})))
    steps(run, 1)
    with pytest.raises(LostError):
        run.loop.step()
    hand_over(run, heir)
    assert steps(heir, 2) == ["update", "update"]
    assert heir.loop._training.settings.global_batch == 4
    heir.boundary.commands[1] = LARGER  # it comes again
    finish(heir)
    assert [record["samples"] for record in heir.boundary.of("settings")] == [16]
    assert heir.boundary.taken == 1


def test_another_saver_saves_again_what_the_lost_one_may_not_have_finished():
    plan = rules(checkpoint_samples=16, stop=StopConfig(updates=7))
    run, heir = make_run(plan), newcomer(plan)
    steps(run, 4)
    assert run.saver.why() == [(16, "due")]
    hand_over(run, heir)
    finish(heir)
    assert heir.saver.why() == [(20, "due"), (28, "end")]


def test_a_saver_that_stays_saves_nothing_twice():
    run = make_run(rules(checkpoint_samples=16))
    steps(run, 4)
    hand_over(run, run)
    finish(run)
    assert run.saver.why() == [(16, "due"), (24, "end")]


def test_where_nothing_was_saved_another_saver_has_nothing_to_repeat():
    run, heir = make_run(), newcomer()
    steps(run, 2)
    hand_over(run, heir)
    finish(heir)
    assert heir.saver.why() == [(24, "end")]


def test_the_end_is_saved_and_recorded_again_by_whoever_takes_the_place_of_rank_0():
    run, heir = finish(make_run()), newcomer()
    hand_over(run, heir)
    finish(heir)
    assert heir.saver.why() == [(24, "end")]
    assert len(heir.boundary.of("run_ended")) == 1
    assert heir.boundary.of("evaluation") == []  # it was judged
    assert heir.outcome == run.outcome


def test_a_rank_0_that_stays_records_the_end_once():
    run = finish(make_run())
    hand_over(run, run)
    finish(run)
    assert len(run.boundary.of("run_ended")) == 1
    assert run.saver.why() == [(24, "end")]


def test_divergence_that_shows_while_the_state_is_handed_over_ends_the_run_for_all():
    """The third update in a row to be skipped is still on the device then."""
    run = make_run(task=Explodes(Points(40), {1, 2, 3}), verdict="device")
    heir = newcomer(verdict="device")
    steps(run, 3)
    hand_over(run, run, heir)
    for rank in (run, heir):
        assert rank.loop.step() == "end"
        with pytest.raises(DivergenceError, match=r"3 updates in a row.*the loss is not finite"):
            rank.loop.end()
        (ended,) = rank.boundary.of("run_ended")
        assert (ended["reason"], ended["skipped"]) == ("diverged", 3)
    assert [r["consecutive"] for r in run.boundary.of("update_skipped")] == [1, 2, 3]


def test_results_of_a_state_that_was_given_up_are_forgotten():
    run = make_run(verdict="device")
    other = make_run(task=Explodes(Points(40), {1}), verdict="device")
    steps(run, 2)
    steps(other, 1)  # skipped, which is still on the device
    hand_over(run, run, other)
    finish(run)
    finish(other)
    same_bits(tensors(run), tensors(other))
    assert other.outcome == run.outcome
    assert other.outcome.state.progress.skipped == 0


def test_an_observation_goes_on_where_the_lost_rank_0_was():
    plan = rules(observe_updates=4, learning_rate=constant_lr(0.05))
    whole, run, heir = make_run(plan), make_run(plan), newcomer(plan)
    steps(whole, 4)
    steps(run, 3)
    hand_over(run, heir)
    steps(heir, 1)
    (wanted,), (found,) = whole.boundary.of("observation"), heir.boundary.of("observation")
    assert {**found, "time": 0} == {**wanted, "time": 0}


def test_an_observation_speaks_of_one_number_of_workers():
    run, heir = make_run(rules(observe_updates=4)), newcomer()
    steps(run, 3)
    hand_over(run, run, heir, collective=BreakingRank(0, 2, Meeting(2)))
    for rank in (run, heir):
        (seen,) = rank.boundary.of("observation")
        assert (seen["samples"], seen["workers"], seen["learning_rate"]) == (12, 1, 0.1)


def test_a_newcomer_trains_on_to_the_weights_of_an_undisturbed_run():
    undisturbed, run = finish(make_run()), make_run()
    heir = newcomer()
    heir.loop.rehearse(world_size=2)
    steps(run, 3)
    hand_over(run, heir)
    finish(heir)
    same_bits(tensors(heir), tensors(undisturbed))
    assert heir.loop.position == undisturbed.loop.position

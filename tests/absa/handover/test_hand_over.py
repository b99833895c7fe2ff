"""Ranks here are threads; `test_handover_gloo.py` does the same with processes."""

import pytest
import torch
from engine import run_ranks
from hypothesis import given, settings
from hypothesis import strategies as st
from states import assert_same, assorted, trees

from absa.collective import SingleProcess
from absa.errors import ConfigError, ResizeError
from absa.handover.hand_over import hand_over
from absa.handover.parcels import Sizes
from absa.handover.stake import Stake
from absa.handover.wire import Wire
from absa.state import StateTree, clone_to_host

TINY = Sizes(large_bytes=1000, piece_bytes=700, bucket_bytes=300, in_flight=2)


def hand(standings, source, owner=None, sizes=TINY):
    """Let each rank bring its stake; return what each goes on with."""
    return run_ranks(
        len(standings),
        lambda rank: hand_over(
            standings[rank.rank], Wire(rank, sizes=sizes), source=source, owner=owner
        ),
    )


def refused(standings, source, owner=None):
    """Return the message that each rank is refused with."""

    def attempt(rank):
        with pytest.raises(ResizeError) as caught:
            hand_over(standings[rank.rank], Wire(rank), source=source, owner=owner)
        return str(caught.value)

    return run_ranks(len(standings), attempt)


def has(tree):
    return Stake(tree, current=True)


NEW = Stake()


@pytest.mark.parametrize(
    "roles", ["Sn", "nS", "nSc", "Sncn", "cnSnn", "nnnS", "ncSbn", "bS", "Sc", "S"]
)
def test_every_rank_ends_with_the_bits_of_the_source(roles):
    """S: the source; c: has the current state; b: is behind; n: is new."""
    source = assorted(1)
    standings = {
        "S": lambda: has(clone_to_host(source)),
        "c": lambda: has(clone_to_host(source)),
        "b": lambda: Stake(clone_to_host(assorted(2))),
        "n": lambda: NEW,
    }
    found = hand([standings[role]() for role in roles], roles.index("S"))
    for tree in found:
        assert_same(tree, source)


@settings(max_examples=40)
@given(trees(), st.data())
def test_any_tree_arrives_whatever_the_group_and_the_sizes(tree, data):
    current = data.draw(st.lists(st.booleans(), min_size=1, max_size=4).filter(any))
    sizes = Sizes(*(data.draw(st.integers(1, 400)) for _ in range(3)), data.draw(st.integers(1, 4)))
    source = data.draw(st.sampled_from([rank for rank, yes in enumerate(current) if yes]))
    standings = [has(tree) if yes else NEW for yes in current]
    for found in hand(standings, source, sizes=sizes):
        assert_same(found, tree)


def test_ranks_with_the_current_state_keep_their_very_tensors():
    mine = [assorted(1), assorted(1)]
    found = hand([has(mine[0]), has(mine[1]), NEW], source=1)
    for rank in (0, 1):
        assert all(found[rank].tensors[name] is t for name, t in mine[rank].tensors.items())


def test_a_rank_that_is_behind_keeps_what_it_had_beside_what_it_gets():
    behind = assorted(2)
    before = clone_to_host(behind)
    found = hand([Stake(behind), has(assorted(1))], source=1)
    assert_same(behind, before)
    assert_same(found[0], assorted(1))


def test_a_new_rank_receives_into_the_tensors_it_names():
    source = assorted(1)
    live = clone_to_host(assorted(2)).tensors
    some = {name: t for name, t in live.items() if name != "model/scalar"}
    found = hand([has(source), Stake(places=lambda layout: some)], source=0)
    assert_same(found[1], source)
    assert all(found[1].tensors[name] is tensor for name, tensor in some.items())


def test_memory_layouts_of_giver_and_taker_may_differ():
    images = torch.randn(3, 8, 5, 5)
    mine = {"model/x": images.to(memory_format=torch.channels_last), "model/y": images}
    theirs = {
        "model/x": torch.zeros_like(images),
        "model/y": torch.zeros_like(mine["model/x"]),
    }
    for sizes in (TINY, Sizes()):
        found = hand(
            [has(StateTree(mine, {})), Stake(places=lambda layout: theirs)], 0, sizes=sizes
        )
        for name in theirs:
            assert torch.equal(theirs[name], images)
            assert found[1].tensors[name] is theirs[name]


def test_tied_tensors_stay_tied():
    weight, place = torch.randn(5, 5), torch.zeros(5, 5)
    tree = StateTree({"model/a": weight, "model/b": weight}, {})
    into = {"model/a": place, "model/b": place}
    hand([has(tree), Stake(places=lambda layout: into)], 0)
    assert torch.equal(place, weight)


def per_rank(value: float) -> StateTree:
    tensors = {"model/w": torch.ones(3), "iterate/w": torch.full((400,), value)}
    kinds = {"iterate": "per_rank"}
    return StateTree(tensors, {"iterate": value, "progress": 1}, kinds)


def test_entries_per_rank_stay_and_a_newcomer_copies_the_source():
    behind = Stake(per_rank(3.0))
    found = hand([has(per_rank(1.0)), NEW, has(per_rank(2.0)), behind, NEW], source=2)
    assert [float(tree.tensors["iterate/w"][-1]) for tree in found] == [1, 2, 2, 3, 2]
    assert [tree.values["iterate"] for tree in found] == [1, 2, 2, 3, 2]
    assert {tree.values["progress"] for tree in found} == {1}


def test_a_layout_longer_than_the_first_message_arrives():
    tensors = {f"model/{'x' * 100}{i}": torch.tensor(i) for i in range(1500)}
    tree = StateTree(tensors, {"text": "y" * 70_000})
    for found in hand([NEW, has(tree)], source=1, sizes=Sizes()):
        assert_same(found, tree)


def test_a_tree_without_tensors_arrives():
    for found in hand([NEW, has(StateTree({}, {"a": [1]}))], source=1):
        assert_same(found, StateTree({}, {"a": [1]}))


def test_one_process_keeps_its_state():
    assert_same(hand_over(has(assorted(1)), Wire(SingleProcess()), source=0), assorted(1))


def with_tensor(shape, dtype=torch.float32):
    return StateTree({"model/w": torch.zeros(shape, dtype=dtype)}, {})


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (has(with_tensor(4)), r"'model/w': torch.float32 of shape \(3,\) there, .*\(4,\) here"),
        (has(StateTree({}, {})), "'model/w'.*missing here"),
        (Stake(with_tensor(3, torch.float64)), "torch.float64 of shape"),
        (
            Stake(places=lambda layout: {"model/w": torch.zeros(4)}),
            r"'model/w': .*\(3,\) there, .*\(4,\) here",
        ),
    ],
)
def test_another_model_is_refused_by_all_before_anything_is_touched(other, why):
    messages = refused([has(with_tensor(3)), other, NEW], source=0)
    assert "ranks [1] refused the state of rank 0" in messages[0]
    assert messages[2] == messages[0]
    with pytest.raises(ResizeError, match=why):
        raise ResizeError(messages[1])


def test_what_a_rank_refuses_for_reasons_of_its_own_is_told():
    def refuse(layout):
        raise ConfigError("this job trains another network")

    messages = refused([Stake(places=refuse), has(with_tensor(3))], source=1)
    assert messages[0] == "rank 0 cannot take part: this job trains another network"
    assert "ranks [0] refused" in messages[1]


@pytest.mark.parametrize(
    ("stake", "why"),
    [
        (NEW, "rank 1 was to hand over its state and has none"),
        (Stake(with_tensor(3)), "rank 1 was to hand over its state and has none"),
        (has(StateTree({"model/w": torch.eye(2).to_sparse()}, {})), "only dense tensors"),
        (has(StateTree({}, {"model": object()})), "the value at .* is a object"),
    ],
)
def test_a_source_that_cannot_give_ends_the_attempt_on_all_ranks(stake, why):
    messages = refused([has(with_tensor(3)), stake, NEW], source=1)
    with pytest.raises(ResizeError, match=why):
        raise ResizeError(messages[1])
    assert messages[0] == messages[2] == "rank 1 cannot hand over its state; its own error says why"

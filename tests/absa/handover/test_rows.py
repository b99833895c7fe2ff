import pytest
import torch
from engine import run_ranks
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.errors import ResizeError
from absa.handover.hand_over import hand_over
from absa.handover.stake import Stake
from absa.handover.wire import Wire
from absa.state import StateTree

KINDS = {"seen": "per_position", "note": "per_position"}


def memory(rows: dict[int, float]) -> StateTree:
    """Return a tree with a row per position, and another part with one tensor."""
    positions = torch.tensor(list(rows), dtype=torch.int64)
    values = torch.tensor(list(rows.values()), dtype=torch.float32)
    tensors = {
        "model/w": torch.ones(2),
        "seen/positions": positions,
        "seen/loss": values,
        "seen/image": values[:, None, None].expand(-1, 2, 3).to(torch.bfloat16),
        "seen/known": values > 0,
        "note/positions": positions + 1,
    }
    return StateTree(tensors, {}, KINDS)


def rows_of(tree: StateTree) -> dict[int, float]:
    """Return what `memory` was given."""
    part = {name.split("/")[1]: t for name, t in tree.tensors.items() if name.startswith("seen/")}
    assert part["image"].shape == (len(part["positions"]), 2, 3)
    assert torch.equal(part["image"][:, 1, 2], part["loss"].bfloat16())
    assert torch.equal(part["known"], part["loss"] > 0)
    return dict(zip(part["positions"].tolist(), part["loss"].tolist(), strict=True))


def hand(standings, owner, source=0):
    return run_ranks(
        len(standings),
        lambda rank: hand_over(standings[rank.rank], Wire(rank), source=source, owner=owner),
    )


ROWS = st.dictionaries(st.integers(0, 30), st.integers(-8, 8).map(float), max_size=12)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("cbn"), ROWS), min_size=1, max_size=4), st.data())
def test_each_position_is_once_on_the_rank_that_owns_it(ranks, data):
    source = data.draw(st.integers(0, len(ranks) - 1))
    ranks[source] = ("c", ranks[source][1])
    owners = data.draw(st.lists(st.integers(0, len(ranks) - 1), min_size=32, max_size=32))
    standings = [
        Stake() if role == "n" else Stake(memory(rows), current=role == "c") for role, rows in ranks
    ]
    found = hand(standings, lambda positions: torch.tensor(owners)[positions], source)
    expected: dict[int, float] = {}
    for wanted in "cb":
        for role, rows in ranks:
            if role == wanted:
                expected = rows | expected
    for rank, tree in enumerate(found):
        mine = {p: expected[p] for p in sorted(expected) if owners[p] == rank}
        assert list(rows_of(tree).items()) == list(mine.items())
        notes = [p + 1 for p in sorted(expected) if owners[p + 1] == rank]
        assert tree.tensors["note/positions"].tolist() == notes
        assert dict(tree.kinds) == KINDS


def test_rows_that_were_held_are_left_as_they_are():
    held = memory({3: 1.0, 4: 2.0})
    before = {name: t.clone() for name, t in held.tensors.items()}
    found = hand([Stake(held, current=True), Stake()], lambda p: p % 2)
    assert rows_of(found[0]) == {4: 2.0}
    assert rows_of(found[1]) == {3: 1.0}
    assert all(torch.equal(held.tensors[name], before[name]) for name in before)


def replaced(**tensors) -> StateTree:
    tree = memory({3: 1.0, 4: 2.0})
    changed = {**tree.tensors, **{name.replace("__", "/"): t for name, t in tensors.items()}}
    return StateTree({n: t for n, t in changed.items() if t is not None}, {}, KINDS)


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        (replaced(seen__loss=torch.zeros(3)), r"'seen/loss' is torch.float32 of shape \(3,\) here"),
        (replaced(seen__loss=torch.zeros(2, 2)), "'seen/loss'"),
        (replaced(seen__loss=None), "'seen/loss' is missing here"),
        (replaced(seen__positions=None), "'seen/positions' is missing"),
        (replaced(seen__more=torch.zeros(2)), "'seen/more' .* missing there"),
    ],
)
def test_rows_that_do_not_fit_the_source_are_refused(tree, why):
    with pytest.raises(ResizeError, match=why):
        raise refusal(tree, lambda p: p % 2)


@pytest.mark.parametrize(
    ("owner", "why"),
    [
        (None, "pass owner"),
        (lambda p: p - 2, "owner returned ranks 2 to 3, the new group has 0 to 1"),
        (lambda p: -p, "owner returned ranks -5 to -4"),
        (lambda p: p / 2, "owner must return an int64 rank"),
    ],
)
def test_an_owner_that_names_no_rank_is_refused(owner, why):
    with pytest.raises(ResizeError, match=why):
        raise refusal(memory({3: 1.0, 4: 2.0}), owner)


def test_a_part_without_positions_is_refused():
    tree = StateTree({"seen/loss": torch.zeros(2)}, {}, {"seen": "per_position"})
    with pytest.raises(ResizeError, match="needs a tensor 'seen/positions' of dtype int64"):
        raise refusal(tree, lambda p: p % 2, source=tree)


def refusal(tree, owner, source=None) -> ResizeError:
    """Return what rank 1 says of its tree."""
    standings = [
        Stake(source or memory({}), current=True),
        Stake(tree, current=True),
    ]

    def attempt(rank):
        with pytest.raises(ResizeError) as caught:
            hand_over(standings[rank.rank], Wire(rank), source=0, owner=owner)
        return caught.value

    return run_ranks(2, attempt)[1]

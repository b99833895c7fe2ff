"""Real processes joined by gloo hand over all they have."""

import pytest
import torch
from gloo_handover import NUM_PROCESSES, OPTIMIZERS, SIZES, STEPS, run_all
from states import assert_same, assorted

from absa.state import StateTree

pytestmark = pytest.mark.cpu_heavy


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each process found."""
    folder = tmp_path_factory.mktemp("gloo")
    run_all(str(folder))
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(NUM_PROCESSES)]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_after_each_join_all_have_the_same_bits_and_keep_them_in_the_next_update(
    ranks, optimizer, step
):
    members = [rank[optimizer][step] for rank in ranks if step in rank[optimizer]]
    assert len(members) == (2 if step == STEPS[0] else 3)
    for member in members:
        for when in ("handed over", "an update later"):
            assert_same(member[when], members[-1][when])
    first, then = members[0]["handed over"].tensors, members[0]["an update later"].tensors
    assert any(name.startswith("optimizer/") for name in first)
    assert not torch.equal(first["model/0.weight"], then["model/0.weight"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_the_source_had_is_what_a_newcomer_gets(ranks, optimizer):
    assert_same(ranks[1][optimizer][STEPS[0]]["handed over"], ranks[2][optimizer]["before"])


def test_a_rank_that_was_behind_goes_on_with_the_progress_of_the_source(ranks):
    found = ranks[1]["sgd"][STEPS[2]]["handed over"]
    assert found.values["progress"]["samples"] == 99


@pytest.mark.parametrize("sizes", SIZES)
def test_every_kind_moves_by_its_rule(ranks, sizes):
    source = assorted(1)
    for rank, found in enumerate(ranks):
        tree = found[sizes]
        model = {name: t for name, t in tree.tensors.items() if name.startswith("model/")}
        values = {name: value for name, value in tree.values.items() if name != "iterate"}
        assert_same(StateTree(model, values), source)
        own = [1, 1, 2][rank]  # the newcomer's is the source's
        assert tree.values["iterate"] == own
        assert torch.equal(tree.tensors["iterate/w"], torch.full((500,), float(own)))
        # The newcomer had no rows: positions 0 to 9 are lost.
        positions = torch.arange(10, 30)
        mine = positions[positions % 3 == rank]
        assert torch.equal(tree.tensors["seen/positions"], mine)
        assert torch.equal(tree.tensors["seen/loss"], mine.double() / 3)

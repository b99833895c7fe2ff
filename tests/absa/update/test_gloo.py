"""Real processes joined by gloo: what threads as ranks cannot show."""

import pytest
import torch
from engine import close, same_bits
from gloo_ranks import CASES, WORLD_SIZES, run_all, train

from absa.collective import SingleProcess

pytestmark = pytest.mark.cpu_heavy


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What every member of each group found, in the order of ranks."""
    folder = tmp_path_factory.mktemp("gloo")
    run_all(str(folder))
    found = [torch.load(folder / f"{rank}.pt") for rank in range(max(WORLD_SIZES))]
    return {n: [each[n] for each in found if n in each] for n in WORLD_SIZES}


@pytest.mark.parametrize("world_size", WORLD_SIZES)
@pytest.mark.parametrize("case", CASES)
def test_all_ranks_hold_the_same_bits_and_what_one_process_would(ranks, world_size, case):
    members = [member[case] for member in ranks[world_size]]
    assert len(members) == world_size
    alone = train(case, SingleProcess())
    for member in members:
        same_bits(member["state"], members[0]["state"])
        for name in ("losses", "norms", "noise", "metrics"):
            assert member[name] == members[0][name]
        assert all(sample["units"] for sample in member["noise"])
    close(members[0]["state"], alone["state"])
    for name in ("losses", "norms", "metrics"):
        assert members[0][name] == pytest.approx(alone[name], rel=1e-4)


@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_a_broadcast_reaches_any_memory_layout(ranks, world_size):
    for rank, member in enumerate(ranks[world_size]):
        found = member["broadcast"]
        assert found["rank"] == rank
        assert found["value"] == {"rank": 1}
        assert all(bool((tensor == 1).all()) for tensor in found["tensors"])

"""Real ranks under DistributedDataParallel."""

import pytest
import torch
from gloo_units import CUTS, data, network, run
from noisy_gradients import norms_of
from torch import nn

pytestmark = pytest.mark.cpu_heavy


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    run(str(folder))
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("cut", CUTS)
def test_ddp_ranks_find_the_norms_of_their_passes(ranks, cut):
    model, rows = network(), []
    for x, y in zip(
        *(torch.cat(parts) for parts in zip(data(0), data(1), strict=True)), strict=True
    ):
        losses = nn.functional.cross_entropy(model(x[None]), y[None])
        gradients = torch.autograd.grad(losses, list(model.parameters()))
        rows.append(torch.cat([g.flatten() for g in gradients]))
    tensors = [p.numel() for p in model.parameters()]
    expected = norms_of(torch.stack(rows).numpy(), [*cut, *cut], tensors=tensors)
    for rank in ranks:
        looked, other = rank[CUTS.index(cut)]
        assert looked == rank[CUTS.index(cut)][0]
        assert looked.num_samples == other.num_samples == 10
        assert looked.weight == other.weight == 10
        assert looked.samples_per_weight == pytest.approx(2 * len(cut))
        assert looked.gradient == pytest.approx(expected.gradient)
        assert looked.units == pytest.approx(expected.units)
        assert other.gradient == pytest.approx(expected.gradient)
        assert other.units is None
    assert ranks[0] == ranks[1]

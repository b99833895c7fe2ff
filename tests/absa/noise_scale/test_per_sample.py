import pytest
import torch
from noisy_gradients import norms_of
from torch import nn

from absa.errors import MeasurementError
from absa.noise_scale.per_sample import per_sample_norms


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()


def batch(size):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, 4, dtype=torch.float64, generator=generator)
    return {"x": x, "y": torch.randint(3, (size,), generator=generator)}


def losses_of(model, data):
    return nn.functional.cross_entropy(model(data["x"]), data["y"], reduction="none")


@pytest.mark.parametrize("chunk_size", [None, 1, 3])
def test_norms_are_those_of_one_backward_pass_per_sample(chunk_size):
    model, data = network().eval(), batch(7)
    model[0].bias.requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for loss in losses_of(model, data):
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in gradients]))
    tensors = [p.numel() for p in parameters]
    expected = norms_of(torch.stack(rows).numpy(), [1] * 7, tensors=tensors)
    found = per_sample_norms(model, losses_of, data, chunk_size=chunk_size)
    assert found.gradient == pytest.approx(expected.gradient)
    assert found.units == pytest.approx(expected.units)
    assert (found.num_samples, found.weight, found.samples_per_weight) == (7, 7.0, 7.0)
    assert all(p.grad is None for p in model.parameters())


def test_batch_norm_that_couples_samples_is_refused():
    with pytest.raises(MeasurementError, match="BatchNorm1d in training mode"):
        per_sample_norms(network(), losses_of, batch(4))


def test_one_sample_is_refused():
    with pytest.raises(MeasurementError, match="at least two"):
        per_sample_norms(network().eval(), losses_of, batch(1))

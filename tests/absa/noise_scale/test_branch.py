import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from absa.errors import MeasurementError
from absa.noise_scale.branch import Branches, check_by_branches

DIM = 40
CURVATURE = torch.linspace(0.5, 1.5, DIM, dtype=torch.float64)
SPREAD = torch.linspace(2.0, 1.0, DIM, dtype=torch.float64)


class Point(nn.Module):
    """Weights w; a sample x has the loss (w - x)' H (w - x) / 2 with a diagonal H."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.full((DIM,), 0.4, dtype=torch.float64))


def losses_of(model, x):
    return ((model.w - x) ** 2 * CURVATURE).sum(1) / 2


def draw(num_samples, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_samples, DIM, dtype=torch.float64, generator=generator) * SPREAD


JUDGED = [torch.zeros(1, DIM, dtype=torch.float64)]
"""The mean of all samples: the loss there differs from the mean over all by a constant."""

GRADIENT = CURVATURE * 0.4
TRUTH = float((CURVATURE**3 * SPREAD**2).sum() / (CURVATURE * GRADIENT**2).sum())
BEST_RATE = float((GRADIENT**2).sum() / (CURVATURE * GRADIENT**2).sum())
BRANCHES = Branches(
    batches=(4, 64),
    max_rates=tuple(BEST_RATE * f for f in (0.5, 1.0, 1.5)),
    predicted=TRUTH,
    num_seeds=30,
)


def test_the_noise_scale_of_a_quadratic_is_found():
    found = check_by_branches(Point(), losses_of, draw, JUDGED, BRANCHES)
    assert found.lower < TRUTH < found.upper < math.inf
    assert found.noise_scale == pytest.approx(TRUTH, rel=0.2)
    wanted = [BEST_RATE / (1 + TRUTH / batch) for batch in BRANCHES.batches]
    assert found.best_rates == pytest.approx(wanted, rel=0.15)


@pytest.mark.soak
def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    inside = 0
    for trial in range(100):
        found = check_by_branches(
            Point(),
            losses_of,
            lambda n, seed, first=100_000 * trial: draw(n, first + seed),
            JUDGED,
            replace(BRANCHES, num_seeds=12),
        )
        inside += found.lower <= TRUTH <= found.upper
    assert inside >= 81  # three standard errors below 90


def test_the_model_stays_as_it_is():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(DIM, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    branches = Branches((8, 64), max_rates=(0.05, 0.1, 0.2), predicted=10.0, num_seeds=3)

    def losses(model, x):
        return (model(x).squeeze(1) - x.sum(1)) ** 2

    found = check_by_branches(model, losses, draw, [draw(200, 999)], branches)
    assert found.decreases[1] > 0
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_batches_far_below_the_noise_scale_leave_it_unbounded():
    branches = replace(BRANCHES, batches=(1, 2), num_seeds=5)
    found = check_by_branches(Point(), losses_of, draw, JUDGED, branches)
    assert found.noise_scale is None
    assert 0 <= found.lower < TRUTH
    assert found.upper == math.inf


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        ((1e-6, 2e-6, 3e-6), "move max_rates"),
        ((1e200, 2e200, 3e200), "not finite"),
    ],
)
def test_a_sweep_without_a_best_rate_is_refused(rates, says):
    branches = replace(BRANCHES, max_rates=rates, num_seeds=3)
    with pytest.raises(MeasurementError, match=says):
        check_by_branches(Point(), losses_of, draw, JUDGED, branches)


@pytest.mark.parametrize(
    "change",
    [{"batches": (4, 4)}, {"num_seeds": 2}, {"max_rates": (0.1, 0.2)}],
)
def test_branches_that_cannot_tell_are_refused(change):
    with pytest.raises(MeasurementError):
        replace(BRANCHES, **change)

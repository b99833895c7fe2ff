"""The direct check of a noise scale: what updates at two batches do to the loss."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from absa.curvature.problem import Losses
from absa.errors import MeasurementError
from absa.noise_scale.average import NoiseAverage, NoiseWindow
from absa.noise_scale.branch import BranchCheck, Branches, Draw, check_by_branches
from absa.noise_scale.predict import progress
from absa.noise_scale.units import GradientUnits
from absa.signals import NoiseScale
from absa.task import Batch, Source
from absa.update.replica import Replica
from benchmarks.noise_scale.engine import ALL_ALIKE, CONFIDENCE, Updates

FROZEN_UPDATES = 100
"""Over which the noise scale at fixed weights is averaged: 10 to 20 % at a batch of 128."""
JUDGED, JUDGED_BATCH = 4096, 512
NUM_SEEDS = 6
MAX_BATCH = 4096
"""Of an update that is tried; 1024 is checked with its quarter and its fourfold."""
SWEEP = (0.25, 0.5, 1.0, 1.5)
TRIED_RATES = tuple(1e-3 * 2.0**power for power in range(12))


@dataclass(frozen=True)
class Checked:
    """A noise scale and its check at the same weights.

    Args:
        epoch: Where.
        simple: tr(Sigma) / |G|^2 there.
        branches: What was tried; None where `simple` is not resolved.
        found: What came of it; or why nothing did.
    """

    columns: ClassVar[tuple[str, ...]] = (
        "epoch",
        "B_simple",
        "lower",
        "upper",
        "batches",
        "B by branches",
        "lower ",
        "upper ",
        "remark",
    )

    epoch: float
    simple: NoiseScale
    branches: Branches | None
    found: BranchCheck | str

    @property
    def cells(self) -> tuple[str | float | None, ...]:
        """Return what `columns` name."""
        simple = self.simple
        upper = simple.upper if math.isfinite(simple.upper) else None
        batches = " and ".join(map(str, self.branches.batches)) if self.branches else None
        known = (self.epoch, simple.value, simple.lower, upper, batches)
        if isinstance(self.found, str):
            return (*known, None, None, None, self.found)
        found = self.found
        most = found.upper if math.isfinite(found.upper) else None
        return (*known, found.noise_scale, found.lower, most, None)


def check(replica: Replica, updates: Updates, epoch: float) -> Checked:
    """Measure the noise scale at a replica's weights and check it; the replica stays as it is.

    The network is in training mode throughout: samples are drawn in whole batch-norm groups, so the
    loss is one function of the weights, whatever the batch.

    Args:
        replica: Of which the weights are taken.
        updates: How it is trained.
        epoch: For the table.
    """
    model, losses = copy.deepcopy(replica.model), replica.task.losses
    draw = drawing(replica.train)
    simple = at_fixed_weights(model, losses, draw, updates)
    if simple.value is None:
        return Checked(epoch, simple, None, "B_simple is not resolved")
    judged = [draw(JUDGED_BATCH, -1 - number) for number in range(JUDGED // JUDGED_BATCH)]
    batches = around(simple.value, updates.bn_group or 1)
    gradient = _gradient(model, losses, draw(batches[1], 0))
    best = best_rate(model, losses, gradient, judged) / progress(batches[1], simple.value)
    rates = tuple(best * factor for factor in SWEEP)
    branches = Branches(batches, rates, simple.value, NUM_SEEDS, confidence=CONFIDENCE)
    try:
        found: BranchCheck | str = check_by_branches(model, losses, draw, judged, branches)
    except MeasurementError as error:
        found = str(error)
    return Checked(epoch, simple, branches, found)


def drawing(source: Source) -> Draw:
    """Return a function that draws random samples, with replacement, the same for a seed."""

    def draw(num_samples: int, seed: int) -> Batch:
        generator = np.random.default_rng([abs(seed), seed < 0])
        indices = generator.integers(0, len(source), num_samples)
        return source.transform(source.fetch(indices, None))

    return draw


def at_fixed_weights(model: nn.Module, losses: Losses, draw: Draw, updates: Updates) -> NoiseScale:
    """Return the noise scale where the weights stand, by passes as in training."""
    parameters = list(model.parameters())
    units = GradientUnits(parameters)
    window, average = NoiseWindow(ALL_ALIKE * updates.batch), NoiseAverage()
    num_passes = updates.batch // updates.micro_batch
    for number in range(FROZEN_UPDATES):
        for each in range(num_passes):
            batch = draw(updates.micro_batch, number * num_passes + each)
            (losses(model, batch).mean() / num_passes).backward()
            units.add(updates.micro_batch, loss_scale=1 / num_passes)
        average = window.step(average, units.finish())
        for parameter in parameters:
            parameter.grad = None
    units.close()
    return window.scales(average, CONFIDENCE).whole


def around(noise_scale: float, group: int) -> tuple[int, int]:
    """Return a quarter and four times of a noise scale, in whole groups and not too large."""
    small, big = (max(round(f * noise_scale / group), 1) * group for f in (0.25, 4.0))
    small = min(small, MAX_BATCH // 16 // group * group)
    return small, max(min(big, MAX_BATCH // group * group), 4 * small)


def best_rate(
    model: nn.Module,
    losses: Losses,
    gradient: Sequence[torch.Tensor],
    judged: Sequence[Batch],
) -> float:
    """Return which of `TRIED_RATES` along a gradient decreases the loss most."""
    found = {}
    for rate in TRIED_RATES:
        moved = copy.deepcopy(model)
        with torch.no_grad():
            torch._foreach_sub_(list(moved.parameters()), [rate * each for each in gradient])
            parts = [losses(moved, batch).double() for batch in judged]
        loss = float(torch.cat(parts).mean())
        found[rate] = loss if math.isfinite(loss) else math.inf
    return min(found, key=found.__getitem__)


def _gradient(model: nn.Module, losses: Losses, batch: Batch) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(losses(model, batch).mean(), list(model.parameters()))

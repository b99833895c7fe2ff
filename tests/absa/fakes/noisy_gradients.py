"""Per-sample gradients with known mean and covariance, and the norms of updates made of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from absa.noise_scale.average import NoiseAverage, NoiseWindow
from absa.noise_scale.sample import NormSample


def norms_of(
    gradients: NDArray[np.float64],
    cut: Sequence[int],
    weights: NDArray[np.float64] | None = None,
    tensors: Sequence[int] | None = None,
) -> NormSample:
    """Return what an update of these samples tells.

    Args:
        gradients: One row per sample, unweighted.
        cut: Samples of each unit.
        weights: Of the samples; None: 1.
        tensors: Columns of each tensor; None: one tensor.
    """
    weights = np.ones(len(gradients)) if weights is None else weights
    columns = np.cumsum(tensors or [gradients.shape[1]])[:-1]
    ends = np.cumsum(cut)[:-1]
    weighted = gradients * weights[:, None]
    sums = np.stack([rows.sum(0) for rows in np.split(weighted, ends)])
    unit_weights = np.array([w.sum() for w in np.split(weights, ends)])

    def squares(vectors: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(float((part**2).sum()) for part in np.split(vectors, columns, axis=-1))

    return NormSample(
        num_samples=len(gradients),
        weight=float(weights.sum()),
        gradient=squares(sums.sum(0) / weights.sum()),
        units=squares(sums / np.sqrt(unit_weights)[:, None]),
        samples_per_weight=float((np.array(cut) / unit_weights).sum()),
    )


@dataclass(frozen=True)
class Source:
    """Gradients mu + sigma z in ``dim`` dimensions, with |mu|^2 = 1.

    Args:
        noise_scale: tr(Sigma), since |G|^2 is 1.
        dim: Of the gradient.
        heavy: Degrees of freedom of the t distribution of z; None: normal.
    """

    noise_scale: float
    dim: int = 20
    heavy: float | None = None

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        z = generator.standard_normal((*shape, self.dim))
        if self.heavy is not None:
            squares = generator.chisquare(self.heavy, (*shape, 1))
            z *= np.sqrt((self.heavy - 2) / squares)
        z *= np.sqrt(self.noise_scale / self.dim)
        z[..., 0] += 1
        return z


@dataclass(frozen=True)
class Updates:
    """So many updates of one batch, cut into equal units."""

    number: int
    batch: int
    num_units: int


def train(
    source: Source,
    parts: Sequence[Updates],
    window: NoiseWindow,
    every: int,
    generator: np.random.Generator,
) -> NoiseAverage:
    """Return the average over updates at constant weights."""
    average = NoiseAverage()
    for part in parts:
        size = part.batch // part.num_units
        for _ in range(part.number):
            gradients = source.draw(generator, (part.num_units, size))
            sums = gradients.sum(1)
            looked = window.is_due(average, every, part.batch)
            sample = NormSample(
                num_samples=part.batch,
                weight=float(part.batch),
                gradient=(float((sums.sum(0) / part.batch) @ (sums.sum(0) / part.batch)),),
                units=(float((sums**2).sum() / size),) if looked else None,
                samples_per_weight=float(part.num_units) if looked else 0.0,
            )
            average = window.step(average, sample)
    return average

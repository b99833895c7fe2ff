"""What the host is told of an update: one short tensor, read when it arrives."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from absa.noise_scale.sample import Norms, NormSample
from absa.update.scalars import NUM_SCALARS, Flags, Totals, UpdateResult

Row = Literal["gradient", "units", "preconditioned_gradient", "preconditioned_units", "weights"]
"""What is told of every tensor. Units are sums of squares, as in `Totals`; the others are norms and
are squared on the host: what float32 holds, its square need not fit."""

Rows = Mapping[Row, Float[Tensor, " tensors"]]


@dataclass(frozen=True)
class About:
    """What the host knows of an update before it is told the rest.

    Args:
        num_samples: That it consumed.
        rows: In the order in which they are told.
    """

    num_samples: int
    rows: tuple[Row, ...]


def told(totals: Totals, norm: Float[Tensor, ""], rows: Rows) -> Float[Tensor, " n"]:
    """Return all that the host is told.

    Args:
        totals: Summed over the ranks.
        norm: Of the gradient before clipping; not finite if the update was skipped.
        rows: With those of `About`.
    """
    return torch.cat((totals.numbers, norm.view(1), *rows.values()))


def result(values: list[float], about: About) -> UpdateResult:
    """Return what the values that `told` put together say."""
    samples_per_weight, *scalars, norm = values[: NUM_SCALARS + 2]
    loss_sum, weight, command, checkpoint, time_up, regroup = scalars
    applied = math.isfinite(norm)
    rows = _rows(values[NUM_SCALARS + 2 :], about.rows)
    return UpdateResult(
        num_samples=about.num_samples,
        weight=weight,
        loss=loss_sum / weight if weight else math.nan,
        gradient_norm=norm,
        applied=applied,
        flags=Flags(command > 0, checkpoint > 0, time_up > 0, regroup > 0),
        norms=_sample(rows, about.num_samples, weight, samples_per_weight) if applied else None,
        weights=rows.get("weights") if applied else None,
    )


def _rows(values: list[float], names: tuple[Row, ...]) -> dict[Row, Norms]:
    length = len(values) // len(names)
    parts = [values[i * length : (i + 1) * length] for i in range(len(names))]
    return {
        name: tuple(part) if name.endswith("units") else tuple(each * each for each in part)
        for name, part in zip(names, parts, strict=True)
    }


def _sample(
    rows: Mapping[Row, Norms], num_samples: int, weight: float, samples_per_weight: float
) -> NormSample:
    """Return the norms, without those that nobody looked at or that are not finite.

    They are not where a unit weighs nothing (0 / 0), or where squares leave the range.
    """
    units = rows.get("units")
    if units is None or not (0 < samples_per_weight < math.inf and _are_finite(units)):
        return NormSample(num_samples, weight, rows["gradient"])
    preconditioned = None
    if "preconditioned_units" in rows:
        preconditioned = rows["preconditioned_gradient"], rows["preconditioned_units"]
        if not all(map(_are_finite, preconditioned)):
            preconditioned = None
    return NormSample(
        num_samples, weight, rows["gradient"], units, samples_per_weight, preconditioned
    )


def _are_finite(norms: Norms) -> bool:
    return math.isfinite(sum(norms))

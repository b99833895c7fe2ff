"""Averages of an update's norms over the last samples: what a noise scale is made of.

|g|^2 is known at every update, the units' norms only where they are looked at. Updates are taken in
*blocks*: each ends with an update whose units were looked at, and begins after the one before. That
update gives a trace S and an estimate of |G|^2; the mean |g|^2 of the whole block, less S times the
mean of 1 / batch, gives another one. What they differ by is the block's correction, by which
`BlockAverage` lets the norms of all updates count as much as they are worth. So

- neither a change of the batch nor a drift of the trace biases |G|^2: what is taken off |g|^2 is of
  the same time and the same batch (separate averages of |g|^2, S and 1 / batch would have to be
  multiplied, and vary together);
- blocks hardly depend on each other, so their scatter gives the variances and the covariance of the
  means, whatever the distribution of gradients is.

How often the units are looked at need not be even: that is no function of what was measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from absa.errors import CheckpointError, MeasurementError
from absa.noise_scale.block_average import BlockAverage
from absa.noise_scale.estimate import check, has_units, is_finite, trace_of
from absa.noise_scale.groups import Groups
from absa.noise_scale.interval import noise_scale
from absa.noise_scale.sample import NormSample
from absa.signals import NoiseScales

MIN_BLOCKS = 10
"""A block counts at most as one of so many: with fewer the quantile of t grows fast (at 90 % it is
1.83 for 9 degrees of freedom, 2.13 for 4, 6.31 for 1)."""


@dataclass(frozen=True)
class Block:
    """The updates since units were last looked at.

    Args:
        num_samples: Of them all.
        num_updates: How many.
        gradient: Sum of samples * |g|^2, of the whole and of each group.
    """

    num_samples: int = 0
    num_updates: int = 0
    gradient: tuple[float, ...] = ()


@dataclass(frozen=True)
class NoiseAverage:
    """What is remembered; the same on every rank, part of a checkpoint by `as_values`.

    Args:
        rows: Average of the whole, then of each group; empty before the first block.
        preconditioned: Average as the optimizer sees gradients; None without.
        block: The one that has not ended.
    """

    rows: tuple[BlockAverage, ...] = ()
    preconditioned: BlockAverage | None = None
    block: Block = Block()

    @property
    def num_blocks(self) -> float:
        """Return how many blocks of equal weight would have means as exact."""
        return self.rows[0].num_blocks if self.rows else 0.0


@dataclass(frozen=True)
class NoiseWindow:
    """Over what norms are averaged; its methods are functions of a state that is passed in.

    In a loop of your own::

        window = NoiseWindow(samples=200 * batch, num_train=len(train))
        average = NoiseAverage()
        average = window.step(average, sample)  # after every update
        print(window.scales(average).whole)

    Args:
        samples: Samples after which a block counts 1/e of a new one, > 0. Where that is less than
            `MIN_BLOCKS` blocks, the window is that many.
        num_train: Size of the training set if an epoch takes each sample once; None if samples are
            drawn with replacement or are new every time. Random augmentation lies in between: then
            |G|^2 is estimated too high by the augmentation's part of tr(Sigma) / num_train.
        groups: That get a noise scale of their own; constant while a state lives.

    Raises:
        MeasurementError: The window is empty.
    """

    samples: float
    num_train: int | None = None
    groups: Groups = field(default_factory=Groups)

    def __post_init__(self) -> None:
        if not self.samples > 0:
            raise MeasurementError(
                f"the window of the noise scale is {self.samples} samples; it must be above 0"
            )

    def fits(self, average: NoiseAverage) -> bool:
        """Return whether an average is of as many groups as this window has."""
        num_rows = (0, 1 + len(self.groups.names))
        return len(average.rows) in num_rows and len(average.block.gradient) in num_rows

    def is_due(self, average: NoiseAverage, every_updates: int, num_samples: int) -> bool:
        """Return whether the units of the next update should be looked at.

        They should at every so many updates, and where the block would otherwise become more than a
        tenth of all that counts: at the beginning, and after the batch has grown.

        Args:
            average: Before the update.
            every_updates: Most updates of a block, at least 1.
            num_samples: Samples of the next update.
        """
        block = average.block
        counting = self.samples * (average.rows[0].weight if average.rows else 0.0)
        return (
            block.num_updates + 1 >= every_updates
            or (block.num_samples + num_samples) * MIN_BLOCKS >= counting
        )

    def step(self, average: NoiseAverage, sample: NormSample) -> NoiseAverage:
        """Return the average after one more update.

        One whose norms are not finite, or whose samples weigh nothing, was skipped and is ignored.

        Raises:
            MeasurementError: The sample contradicts itself, the training set or the groups.
        """
        check(sample, self.num_train)
        if not is_finite(sample):
            return average
        block = self._extended(average.block, sample)
        if sample.units is None or not has_units(sample):
            return replace(average, block=block)
        return self._ended(average, block, sample)

    def scales(self, average: NoiseAverage, confidence: float = 0.9) -> NoiseScales:
        """Return the noise scales of the whole, of each group, and as the optimizer sees them.

        Args:
            average: After the last update.
            confidence: Of every interval, in (0, 1).

        Raises:
            MeasurementError: The confidence is out of range, or the state is of other groups.
        """
        num_rows = 1 + len(self.groups.names)
        rows = average.rows or (BlockAverage(),) * num_rows
        self._check_rows(len(rows))
        whole, *parts = (noise_scale(row, confidence) for row in rows)
        seen = average.preconditioned
        return NoiseScales(
            whole=whole,
            groups=dict(zip(self.groups.names, parts, strict=True)),
            preconditioned=None if seen is None else noise_scale(seen, confidence),
        )

    def _extended(self, block: Block, sample: NormSample) -> Block:
        gradient = [sample.num_samples * norm for norm in self.groups.sums(sample.gradient)]
        if block.gradient:
            self._check_rows(len(block.gradient))
            gradient = [a + b for a, b in zip(block.gradient, gradient, strict=True)]
        num_samples = block.num_samples + sample.num_samples
        return Block(num_samples, block.num_updates + 1, tuple(gradient))

    def _ended(self, average: NoiseAverage, block: Block, sample: NormSample) -> NoiseAverage:
        age = min(block.num_samples / self.samples, 1 / MIN_BLOCKS)
        fade, weight = math.exp(-age), -math.expm1(-age)
        assert sample.units is not None
        gradients, units = self.groups.sums(sample.gradient), self.groups.sums(sample.units)
        # 1 / batch - 1 / num_train: of the last update, and how far the block's mean is from it.
        excess = 1 / sample.num_samples - self._inverse
        more = block.num_updates / block.num_samples - 1 / sample.num_samples
        rows = list(average.rows or (BlockAverage(),) * len(units))
        self._check_rows(len(rows))
        for number, row in enumerate(rows):
            last, mean = gradients[number], block.gradient[number] / block.num_samples
            trace = trace_of(sample, last, units[number])
            said = (trace, last - excess * trace, mean - last - more * trace)
            rows[number] = row.add(said, weight, fade)
        seen = self._preconditioned(average.preconditioned, sample, weight, fade)
        return NoiseAverage(tuple(rows), seen)

    def _preconditioned(
        self, row: BlockAverage | None, sample: NormSample, weight: float, fade: float
    ) -> BlockAverage | None:
        """Add what the update that ends a block says: the others were not preconditioned."""
        if sample.preconditioned is None:
            return row
        gradient, units = map(sum, sample.preconditioned)
        trace = trace_of(sample, gradient, units)
        excess = 1 / sample.num_samples - self._inverse
        said = (trace, gradient - excess * trace, 0.0)
        return (row or BlockAverage()).add(said, weight, fade)

    @property
    def _inverse(self) -> float:
        return 0.0 if self.num_train is None else 1 / self.num_train

    def _check_rows(self, num_rows: int) -> None:
        if num_rows != 1 + len(self.groups.names):
            raise MeasurementError(
                f"the average of the noise scale has {num_rows - 1} groups, but the window "
                f"{len(self.groups.names)}; begin a new average"
            )


def as_values(average: NoiseAverage) -> dict[str, Any]:
    """Return a state as plain numbers in lists and dicts."""
    seen = average.preconditioned
    return {
        "rows": [_plain(row) for row in average.rows],
        "preconditioned": None if seen is None else _plain(seen),
        "block": [average.block.num_samples, average.block.num_updates],
        "block_gradient": list(average.block.gradient),
    }


def from_values(values: Mapping[str, Any]) -> NoiseAverage:
    """Return the state that `as_values` was given, to the bit.

    Raises:
        CheckpointError: The values are of another form.
    """
    try:
        seen = values["preconditioned"]
        num_samples, num_updates = values["block"]
        return NoiseAverage(
            tuple(_row(row) for row in values["rows"]),
            None if seen is None else _row(seen),
            Block(num_samples, num_updates, tuple(values["block_gradient"])),
        )
    except (TypeError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint's average of the noise scale is of another version of absa: {error}; "
            "resume with that one"
        ) from error


def _plain(row: BlockAverage) -> list[float]:
    return [row.weight, row.squares, row.fourths, *row.means, *row.means_2, *row.scatter_2]


def _row(values: Sequence[float]) -> BlockAverage:
    weight, squares, fourths, a, b, c, d, e, f, *scatter = values
    xx, xy, xz, yy, yz, zz = scatter
    return BlockAverage(weight, squares, fourths, (a, b, c), (d, e, f), (xx, xy, xz, yy, yz, zz))

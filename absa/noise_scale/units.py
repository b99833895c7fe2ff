"""Gradients of parts of an update in a loop of your own: what `NormSample` is made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from absa.collective import ALONE, Collective, ProcessGroup
from absa.errors import MeasurementError
from absa.noise_scale.pass_norms import PassNorms, norm, stacked, widest_dtype
from absa.noise_scale.sample import NormSample


@dataclass(frozen=True)
class LoopOptions:
    """How the loop makes its gradients.

    Args:
        every_updates: The units of one in so many updates are looked at, at least 1.
        loss: What goes backward: the mean of a pass's losses or their sum.
        reduction: What ``.grad`` holds in the end: the mean over the ranks, as
            `DistributedDataParallel` makes it, or the sum. Of no meaning on one rank.
        collective: The ranks. Default: those of torch's default process group, as for DDP, or this
            process alone if there is none.

    Raises:
        MeasurementError: ``every_updates`` is below 1.
    """

    every_updates: int = 1
    loss: Literal["mean", "sum"] = "mean"
    reduction: Literal["mean", "sum"] = "mean"
    collective: Collective | None = None

    def __post_init__(self) -> None:
        if self.every_updates < 1:
            raise MeasurementError(f"every_updates is {self.every_updates}; it must be at least 1")


class GradientUnits:
    """Takes the norm of each pass's own gradient, before it is added up and summed over ranks.

    In a loop with gradient accumulation, on one rank or many::

        units = GradientUnits(model.parameters(), LoopOptions(every_updates=10))
        for passes in updates:
            optimizer.zero_grad()
            for x, y in passes:
                (loss(model(x), y) / len(passes)).backward()
                units.add(len(x), loss_scale=1 / len(passes))
            sample = units.finish()  # before clipping and before the step
            optimizer.step()
            average = window.step(average, sample)

    One pass on each of several ranks is enough under `DistributedDataParallel`: its own norm is
    taken before DDP sums it. That needs no communication hook, so one that compresses stays usable,
    and passes under ``no_sync`` count as well. With ``GradScaler`` multiply ``loss_scale`` by
    ``scaler.get_scale()`` and call `finish` before ``scaler.unscale_``.

    One rank with one pass has no units of its own: see `backward_by_halves`. Every rank must hold
    whole parameters, so `FullyShardedDataParallel` is not for this.

    Costs, in updates that are looked at: one norm of each tensor per pass, and a sum of
    ``tensors + 4`` numbers over the ranks; in others the norms of ``.grad`` alone. No copy of a
    gradient is made. `finish` reads numbers, so the host waits for the device.

    Args:
        parameters: That are trained; ``.grad`` must be None or zero before the first pass.
        options: How the loop makes its gradients.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], options: LoopOptions | None = None
    ) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        if not self._parameters:
            raise MeasurementError("there are no parameters that require a gradient")
        self._options = options or LoopOptions()
        self._collective = self._options.collective or _default_group()
        self._device = self._parameters[0].device
        self._passes = PassNorms(self._parameters)
        self._updates, self._had_units = 0, False
        self._begin()

    @property
    def is_looking(self) -> bool:
        """Whether the units of the current update are looked at."""
        return self._passes.is_listening

    def add(
        self, num_samples: int, *, weight: float | None = None, loss_scale: float = 1.0
    ) -> None:
        """Make what went backward since the last call a unit.

        Args:
            num_samples: Of the pass, > 0.
            weight: The sum of the samples' weights in its loss, where they differ. Default: 1 for a
                mean, ``num_samples`` for a sum. A pass of weight 0 is left out.
            loss_scale: What the loss was multiplied with besides, > 0.

        Raises:
            MeasurementError: A number is out of range.
        """
        if weight is None:
            weight = 1.0 if self._options.loss == "mean" else float(num_samples)
        weight *= loss_scale
        if num_samples < 1 or not weight >= 0:
            raise MeasurementError(
                f"a pass of {num_samples} samples with weight * loss_scale = {weight}: it needs a "
                "sample at least, and no negative weight"
            )
        norms = self._passes.take() if self.is_looking else None
        if weight == 0:
            return
        self._num_samples += num_samples
        self._weight += weight
        self._samples_per_weight += num_samples / weight
        self._num_units += 1
        if norms is not None:
            self._units.add_(norms / weight)

    def backward_by_halves(
        self, losses: Float[Tensor, " samples"], *, loss_scale: float = 1.0
    ) -> None:
        """Send the mean of ``losses`` backward; in two halves where units are looked at.

        For one rank without accumulation: one forward pass, and in every ``every_updates``-th
        update a second backward pass (with 784-256-128-10 and batch 128 that update takes 1.9 times
        as long). Of a model with batch-norm the halves share statistics, so they are not quite
        independent; cut the batch before the forward pass instead.

        Args:
            losses: One per sample, at least 2, still attached to the graph.
            loss_scale: What their mean is multiplied with, > 0.

        Raises:
            MeasurementError: There is only one loss.
        """
        num_samples = len(losses)
        if num_samples < 2:
            raise MeasurementError("the losses of one sample cannot be halved; give at least two")
        if not self.is_looking:
            (losses.mean() * loss_scale).backward()
            self.add(num_samples, weight=loss_scale)
            return
        half = num_samples // 2
        for part, keeps in ((losses[:half], True), (losses[half:], False)):
            scale = loss_scale / num_samples
            (part.sum() * scale).backward(retain_graph=keeps)
            self.add(len(part), weight=len(part) * scale)

    def finish(self, num_samples: int | None = None) -> NormSample:
        """Return the norms of the update, and begin the next one.

        Every rank calls it for every update, also one that had no pass, when ``.grad`` is complete
        and before anything scales it.

        Args:
            num_samples: Of the update over all ranks. Default: they are summed where units are
                looked at; elsewhere every rank is taken to have as many as this one.

        Raises:
            MeasurementError: There was no pass, or only one in the first update that should say
                something of the noise.
        """
        gradients = [None if p.grad is None else norm(p.grad) for p in self._parameters]
        norms = stacked(gradients, self._device).square()
        own = [self._num_samples, self._weight, self._samples_per_weight, self._num_units]
        if self.is_looking:
            sums = torch.cat((self._units, torch.tensor(own).to(self._units)))
            self._collective.start_sum(sums).wait()
            *units, samples, weight, per_weight, num_units = sums.tolist()
            totals = _Totals(round(samples), weight, per_weight, round(num_units))
        else:
            ranks = self._collective.world_size
            units, totals = [], _Totals(self._num_samples * ranks, self._weight * ranks, 0.0, 0)
        sample = self._sample(totals, num_samples or totals.num_samples, norms.tolist(), units)
        self._updates += 1
        self._begin()
        return sample

    def close(self) -> None:
        """Take the hooks off the parameters."""
        self._passes.stop()

    def _sample(
        self, totals: "_Totals", num_samples: int, gradient: list[float], units: list[float]
    ) -> NormSample:
        """Return the sample with weights such that they sum to the number of samples."""
        if totals.weight == 0:
            raise MeasurementError(
                "the update had no pass: call add(num_samples) after each backward pass"
            )
        if self.is_looking and totals.num_units < 2 and not self._had_units:
            raise MeasurementError(
                "the update was one pass on one rank, whose norm says nothing of the noise: "
                "accumulate two passes, or use backward_by_halves"
            )
        # From now on a lone pass is what is left at the end of an epoch.
        self._had_units |= self.is_looking
        ranks = self._collective.world_size if self._options.reduction == "mean" else 1
        whole = tuple(norm * (ranks / totals.weight) ** 2 for norm in gradient)
        if totals.num_units < 2:
            return NormSample(num_samples, float(num_samples), whole)
        scale = num_samples / totals.weight
        return NormSample(
            num_samples,
            float(num_samples),
            whole,
            tuple(norm * scale for norm in units),
            totals.samples_per_weight / scale,
        )

    def _begin(self) -> None:
        self._num_samples, self._num_units = 0, 0
        self._weight, self._samples_per_weight = 0.0, 0.0
        self._units = torch.zeros(
            len(self._parameters), dtype=widest_dtype(self._device), device=self._device
        )
        self._passes.stop()
        if self._updates % self._options.every_updates == 0:
            self._passes.start()


@dataclass(frozen=True)
class _Totals:
    """Sums over the passes of all ranks."""

    num_samples: int
    weight: float
    samples_per_weight: float
    num_units: int


def _default_group() -> Collective:
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    group = dist.group.WORLD
    assert group is not None
    return ProcessGroup(group)

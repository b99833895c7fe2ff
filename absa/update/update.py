"""One update on one rank: accumulate, reduce, apply."""

import math

import torch
from torch import Tensor

from absa.collective import Collective
from absa.optim.build import set_learning_rate
from absa.order import next_range
from absa.settings import Settings
from absa.update.accumulate import accumulate
from absa.update.apply import Reduced, apply
from absa.update.cut import cut_update
from absa.update.readout import Readout
from absa.update.reducer import GradientReducer
from absa.update.replica import Replica, weights_of
from absa.update.scalars import NUM_SCALARS, Flags, UpdateResult


class Updater:
    """Makes updates on one rank and hands out their results, on CUDA one update late."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._readout = Readout(replica.device)
        self._reducer: GradientReducer | None = None
        size = NUM_SCALARS + replica.statistics.size
        self._scalars = torch.zeros(size, device=replica.device)

    def update(
        self,
        collective: Collective,
        settings: Settings,
        samples: int,
        learning_rate: float,
        flags: Flags,
    ) -> int:
        """Make the update that begins after ``samples`` samples.

        Returns:
            Samples it consumed, over all ranks.
        """
        replica = self._replica
        epoch, start, stop = next_range(samples, settings.global_batch, len(replica.train))
        num_samples = stop - start
        shares = cut_update(
            num_samples,
            bn_group=replica.options.bn_group,
            micro_batch=settings.micro_batch,
            world_size=collective.world_size,
        )
        set_learning_rate(replica.optimizer, learning_rate)
        replica.optimizer.zero_grad(set_to_none=True)
        reducer = self._reducer_for(collective)
        sums = accumulate(
            replica,
            shares[collective.rank],
            (epoch, start),
            num_samples,
            before_last=lambda: reducer.arm(collective) if reducer else None,
        )
        self._pack(sums, flags)
        if reducer:
            reducer.finish(collective, self._scalars)
        weighted = weights_of(replica.task) is not None
        reduced = Reduced(self._scalars, _gradients(replica), num_samples, weighted)
        norm = apply(replica, reduced)
        self._readout.post(torch.cat((self._scalars[:NUM_SCALARS], norm.view(1))), num_samples)
        return num_samples

    def results(self) -> list[UpdateResult]:
        """Return the results that have arrived since the last call."""
        return [_result(values, n) for values, n in self._readout.take()]

    def flush(self) -> list[UpdateResult]:
        """Wait for the results that are still on the device and return them."""
        return [_result(values, n) for values, n in self._readout.flush()]

    def _reducer_for(self, collective: Collective) -> GradientReducer | None:
        """Return the reducer, which a group of one does without: no buffer, no copy, no hook."""
        if collective.world_size > 1 and self._reducer is None:
            self._reducer = GradientReducer(self._replica.parameters, len(self._scalars))
        elif collective.world_size == 1 and self._reducer is not None:
            self._reducer.close()
            self._reducer = None
        return self._reducer

    def _pack(self, sums: tuple[Tensor, Tensor], flags: Flags) -> None:
        raised = torch.tensor((flags.command, flags.checkpoint, flags.time_up), dtype=torch.float32)
        raised = raised.to(self._scalars.device, non_blocking=True)
        torch.cat((torch.stack(sums), raised), out=self._scalars[:NUM_SCALARS])
        self._replica.statistics.pack(self._scalars[NUM_SCALARS:])


def _gradients(replica: Replica) -> list[Tensor]:
    """Return every parameter's gradient; one that the loss does not depend on is zero."""
    for parameter in replica.parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return [p.grad for p in replica.parameters if p.grad is not None]


def _result(values: list[float], num_samples: int) -> UpdateResult:
    loss_sum, weight_sum, command, checkpoint, time_up, norm = values
    return UpdateResult(
        num_samples=num_samples,
        loss=loss_sum / weight_sum if weight_sum else math.nan,
        gradient_norm=norm,
        applied=math.isfinite(norm),
        flags=Flags(command > 0, checkpoint > 0, time_up > 0),
    )

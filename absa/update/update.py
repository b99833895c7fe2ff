"""One update on one rank: accumulate, reduce, apply."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from absa.collective import Collective
from absa.errors import TaskError
from absa.optim.build import set_learning_rate
from absa.order import next_range
from absa.settings import Settings
from absa.update.accumulate import Share, accumulate
from absa.update.apply import (
    Reduced,
    apply_judged,
    apply_unseen,
    can_skip_unseen,
    prepare_unseen,
)
from absa.update.cut import cut_update
from absa.update.gradients import completed
from absa.update.measured import Measurement
from absa.update.measuring import Method, Plan, Shares, method, plan
from absa.update.precondition import is_elementwise
from absa.update.readout import FromCuda, OnHost, Readout
from absa.update.reducer import GradientReducer
from absa.update.replica import Replica, weights_of
from absa.update.scalars import Flags, Totals, UpdateResult
from absa.update.telling import About, Rows, result, told
from absa.update.traceless import traceless


@dataclass(frozen=True)
class Turn:
    """Which update is to be made.

    Args:
        samples: Samples consumed before it.
        learning_rate: Its learning rate.
        flags: What this rank wants all ranks to do after it.
        measure: Whether to look at the gradients of the update's units; the same on every rank.
    """

    samples: int
    learning_rate: float
    flags: Flags
    measure: bool = False


class Updater:
    """Makes updates on one rank and hands out their results.

    Where the device judges whether an update is finite (`UpdateOptions.verdict`), results come one
    update late.

    Args:
        replica: What the rank computes with; its optimizer's state is loaded already.

    Raises:
        TaskError: The parameters are of a kind that cannot be trained.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        dtype = _widest_dtype(replica.parameters)
        shape = (1 + is_elementwise(replica.optimizer), len(replica.parameters))
        self._totals = Totals(shape, replica.statistics.size, dtype, replica.device)
        self._measurement = Measurement(replica, self._totals)
        self._reducer: GradientReducer | None = None
        on_cuda = replica.device.type == "cuda"
        verdict = replica.options.verdict
        if verdict is None:
            verdict = "device" if on_cuda and can_skip_unseen(replica.optimizer) else "host"
        if verdict == "host":
            self._apply, self._readout = apply_judged, Readout(0)
            return
        prepare_unseen(replica.optimizer)
        self._apply, self._readout = apply_unseen, Readout(1, FromCuda if on_cuda else OnHost)

    def update(self, collective: Collective, settings: Settings, turn: Turn) -> int:
        """Make one update.

        If it fails, nothing of it stays behind but gradients, and it can be made again, with
        another group as well.

        Returns:
            Samples it consumed, over all ranks.

        Raises:
            TaskError: The task broke its contract.
        """
        try:
            return self._update(collective, settings, turn)
        except BaseException:
            self._replica.statistics.discard()
            self.close()  # sums may still be under way in its buffer
            raise

    def rehearse(self, settings: Settings, world_size: int) -> None:
        """Do a rank's share of an update for nothing, so that its first real one is not slow.

        Neither weights nor buffers nor momentum change. What is prepared for a group stays.

        Args:
            settings: As for an update.
            world_size: Of the group that the rank will join.

        Raises:
            TaskError: The task broke its contract.
        """
        replica = self._replica
        num_samples = min(settings.global_batch, len(replica.train))
        shares = self._cut(num_samples, settings, world_size)
        self._totals.begin(Flags())
        with traceless(replica):
            share = Share(shares[0], 0, 0, num_samples, settings.adversarial_ratio)
            accumulate(replica, share, self._totals, before_last=lambda: None)
        self._reducer_for(world_size)

    def measuring(self, settings: Settings, num_computing: int) -> Method | None:
        """Return how a measured update sees the gradients of its units, so that one knows the cost.

        Args:
            settings: As for the update.
            num_computing: Ranks that take a share of it.

        Returns:
            "units" costs next to nothing, "halves" that a pass goes through in two, "probe" another
            update. None: the data are too few to measure with.
        """
        num_train = len(self._replica.train)
        num_samples = min(settings.global_batch, num_train)
        shares = self._cut(num_samples, settings, num_computing)
        found = plan(shares, self._replica.options.bn_group, (0, num_samples), num_train)
        return method(shares, self._replica.options.bn_group) if found.measured else None

    @property
    def num_on_their_way(self) -> int:
        """How many results come later than at once: the last so many updates' are not there yet."""
        return self._readout.lag

    def results(self) -> list[UpdateResult]:
        """Return the results that are due since the last call."""
        return [result(*told) for told in self._readout.take()]

    def flush(self) -> list[UpdateResult]:
        """Wait for the results that are still on the device and return them."""
        return [result(*told) for told in self._readout.flush()]

    def close(self) -> None:
        """Take the hooks off the parameters and free what measuring needed."""
        self._measurement.close()
        self._drop_reducer()

    def _update(self, collective: Collective, settings: Settings, turn: Turn) -> int:
        replica, totals = self._replica, self._totals
        epoch, start, stop = next_range(turn.samples, settings.global_batch, len(replica.train))
        num_samples = stop - start
        cut = self._plan((start, stop), settings, collective.num_computing, turn)
        passes = cut.shares[collective.rank] if collective.rank < len(cut.shares) else ()
        for parameter in replica.parameters:
            parameter.grad = None
        reducer = self._reducer_for(collective.world_size)
        totals.begin(turn.flags)
        share = Share(passes, epoch, start, num_samples, settings.adversarial_ratio)
        self._accumulate(share, cut, lambda: reducer.arm(collective) if reducer else None)
        replica.statistics.pack(totals.statistics)
        if reducer:
            reducer.finish(collective, totals.all)
        collective.ensure_current()  # a rank that joins has its optimizer's state only now
        set_learning_rate(replica.optimizer, turn.learning_rate)
        self._step(share, measured=cut.measured)
        return num_samples

    def _accumulate(self, share: Share, cut: Plan, before_last: Callable[[], None]) -> None:
        if cut.measured:
            self._measurement.accumulate(share, cut.probe, before_last)
        else:
            accumulate(self._replica, share, self._totals, before_last)

    def _step(self, share: Share, *, measured: bool) -> None:
        """Step with the summed gradient and post what became of it."""
        replica, totals = self._replica, self._totals
        before = self._measurement.before_step(share) if measured else None
        reduced = Reduced(
            totals,
            completed(replica.parameters),
            share.num_samples,
            weighted=weights_of(replica.task) is not None,
            preconditioner=before.preconditioner if before else None,
        )
        norms = self._apply(replica, reduced)
        rows: Rows = {"gradient": norms.tensors}
        if before:
            rows = self._measurement.rows(norms, before)
        self._readout.post(told(totals, norms.whole, rows), About(share.num_samples, tuple(rows)))

    def _cut(self, num_samples: int, settings: Settings, num_computing: int) -> Shares:
        return cut_update(
            num_samples,
            bn_group=self._replica.options.bn_group,
            micro_batch=settings.micro_batch,
            world_size=num_computing,
        )

    def _plan(
        self, positions: tuple[int, int], settings: Settings, num_computing: int, turn: Turn
    ) -> Plan:
        shares = self._cut(positions[1] - positions[0], settings, num_computing)
        if not turn.measure:
            return Plan(shares, None, measured=False)
        options, num_train = self._replica.options, len(self._replica.train)
        return plan(shares, options.bn_group, positions, num_train)

    def _reducer_for(self, world_size: int) -> GradientReducer | None:
        """Return the reducer, which a group of one does without: no buffer, no copy, no hook."""
        if world_size == 1:
            self._drop_reducer()
        elif self._reducer is None:
            totals = self._totals.all
            self._reducer = GradientReducer(self._replica.parameters, len(totals), totals.dtype)
        return self._reducer

    def _drop_reducer(self) -> None:
        if self._reducer is not None:
            self._reducer.close()
            self._reducer = None


def _widest_dtype(parameters: list[nn.Parameter]) -> torch.dtype:
    """Return a dtype that holds every gradient, at least float32."""
    dtype = torch.float32
    for parameter in parameters:
        if not parameter.is_floating_point():
            raise TaskError(
                f"a parameter of shape {tuple(parameter.shape)} is {parameter.dtype}; trainable "
                "parameters must be real: float32, float64, bfloat16 or float16"
            )
        dtype = torch.promote_types(dtype, parameter.dtype)
    return dtype

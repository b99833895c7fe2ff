"""How a wish reaches Ray Train: the one thing of the peer that is not Ray's or a user's code.

Ray Train resizes a running group when its scaling policy says so; its own policy says so when the
cluster's resources change. Ours says so when a file does. Everything after that is Ray's.
Internals touched (Ray 2.60): `ScalingPolicy`, `ResizeDecision`, and the trainer's method that hands
the policy to the controller.
"""

from pathlib import Path
from typing import Any

from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.scaling_policy import (
    FixedScalingPolicy,
    NoopDecision,
    ResizeDecision,
    ScalingDecision,
)

from benchmarks.resize_stall.trace import Trace
from benchmarks.resize_stall.wish import Wish, read_wish


class WishPolicy(FixedScalingPolicy):  # type: ignore[misc]
    """Wants what a file in a folder asks for."""

    def __init__(self, scaling_config: ScalingConfig, folder: Path) -> None:
        super().__init__(scaling_config)
        self._folder = folder
        self._trace: Trace | None = None

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        """Start a group as large as it is wished: the first one, or after a worker was lost."""
        return self._start(read_wish(self._folder))

    def make_decision_for_running_worker_group(
        self, worker_group_state: Any, worker_group_status: Any
    ) -> ScalingDecision:
        """Resize when a group of another size is asked for."""
        wish = read_wish(self._folder)
        if wish.when_lost or wish.workers == worker_group_state.num_workers:
            return NoopDecision()
        return self._start(wish)

    def _start(self, wish: Wish) -> ScalingDecision:
        # Made here: the policy itself travels to the controller's process.
        self._trace = self._trace or Trace(self._folder, "controller")
        self._trace.mark(f"decided {wish.step}")
        resources = self.scaling_config.resources_per_worker
        return ResizeDecision(num_workers=wish.workers, resources_per_worker=resources)


class WishTrainer(TorchTrainer):  # type: ignore[misc]
    """Ray's trainer with another scaling policy."""

    def __init__(self, *args: Any, folder: Path, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._folder = folder

    def _initialize_and_run_controller(self, **kwargs: Any) -> Any:
        kwargs["scaling_policy"] = WishPolicy(self.scaling_config, self._folder)
        return super()._initialize_and_run_controller(**kwargs)

"""Workers join and leave inside Ray Train; nothing else touches its private members.

Ray Train stays in charge of the run: it starts the first workers, polls them, keeps its record of
checkpoints, and starts the group again when all of it is lost. At each of its polls our worker
group asks the controller what should become of the worker processes (`Orders`), does it, and makes
Ray's picture of the group true. Training never waits for a poll.

Ray's watcher for node notices is off (RAY_TRAIN_ENABLE_PREEMPTION_WATCHER): it would start the
whole group again. A notice is a planned shrink, and comes as a wish to the controller.
"""

import json
import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayError
from ray.train import Checkpoint, Result
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend
from ray.train.v2._internal import constants
from ray.train.v2._internal.callbacks.state_manager import StateManagerCallback
from ray.train.v2._internal.exceptions import (
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from ray.train.v2._internal.execution import context as train_context
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import CheckpointManager
from ray.train.v2._internal.execution.checkpoint.report_handler import ReportCallbackHandler
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy.fixed import FixedScalingPolicy
from ray.train.v2._internal.execution.storage import StorageContext
from ray.train.v2._internal.execution.training_report import _TrainingReport
from ray.train.v2._internal.execution.worker_group import (
    DefaultPlacementGroupHandle,
    RayTrainWorker,
    ReplicaGroup,
    Worker,
    WorkerGroup,
    WorkerGroupContext,
    WorkerGroupState,
    WorkerStatus,
)
from ray.train.v2._internal.logging import logging as train_logging
from ray.train.v2._internal.state.state_manager import TrainStateManager
from ray.train.v2._internal.util import bundle_to_remote_args
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from absa.errors import ResizeError
from cluster.elastic.arrivals import (
    LEFT,
    Fate,
    Process,
    goes_on,
    is_deserted,
    places_in_use,
    plan,
)
from cluster.elastic.orders import Orders
from cluster.elastic.places import Places, give_back, release_placement_groups
from cluster.elastic.ranks import Ranks, ranks
from cluster.elastic.ray_gate import SETS, Private
from cluster.ray_saver import POINTER_FILE

_LOG = logging.getLogger(__name__)

Record = dict[str, Any]

_ALONE = train_context.DistributedContext(
    world_rank=0, world_size=1, local_rank=0, local_world_size=1, node_rank=0
)
"""What a newcomer is told until it joins: it warms up in a world of its own."""


class InPlaceTrainer(TorchTrainer):  # type: ignore[misc]
    """A `TorchTrainer` whose workers may join and leave while it runs.

    The workers make their own process groups, one per generation, and never call
    ``ray.train.report``, a barrier over a fixed number of workers: checkpoints reach Ray Train
    through the controller. A worker's label is the id of its actor as hex.

    Args:
        train_loop_per_worker: What every worker runs; returns `cluster.elastic.arrivals.LEFT` if
            its worker left the group, anything else if the run has ended.
        controller: Handle of an actor with the methods ``orders(lost) -> Orders`` and
            ``checkpoints(cursor)``, which returns all records of checkpoints after the first
            ``cursor``: as in `absa.events`, with ``location`` and perhaps ``metrics``.
        options: As for a `TorchTrainer`; no data sets. ``scaling_config.num_workers`` is what a
            group starts with, also after all of it was lost.
    """

    def __init__(self, train_loop_per_worker: Any, *, controller: Any, **options: Any) -> None:
        super().__init__(train_loop_per_worker, torch_config=_OwnGroups(), **options)
        self._seam = _Seam(controller)

    @property
    def prefix(self) -> str:
        """Begins the names of all placement groups of this run."""
        return _prefix(self.train_run_context)

    def _initialize_and_run_controller(self, **options: Any) -> Result:
        options["callbacks"] = [*options["callbacks"], self._seam]
        options["scaling_policy"] = _RequestsWhatIsUsed(self.scaling_config)
        environment = constants.get_env_vars_to_propagate() | {
            constants.ENABLE_PREEMPTION_WATCHER_ENV_VAR: "0",
            "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
        }
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = (
            ray.remote(_TrainController)
            .options(num_cpus=0, scheduling_strategy=here, runtime_env={"env_vars": environment})
            .remote(**options)
        )
        ray.get(actor.run.remote())
        return ray.get(actor.get_result.remote())


class _OwnGroups(TorchConfig):  # type: ignore[misc]
    """Sets up devices and variables as Ray Train does, but no process group."""

    @property
    def backend_cls(self) -> type:
        return _Backend


class _Backend(_TorchBackend):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(_set_torch_distributed_env_vars)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        """Leave nothing to the workers: their processes end now."""


class _RequestsWhatIsUsed(FixedScalingPolicy):  # type: ignore[misc]
    """Keeps nodes for the workers that there are, not for those that there once were.

    Newcomers need no request: their placement groups are one.
    """

    num_workers: int | None = None

    def _get_num_workers_for_resource_request(self) -> int:
        return self.num_workers or self.scaling_config.num_workers

    def make_decision_for_running_worker_group(
        self, worker_group_state: Any, worker_group_status: Any
    ) -> Any:
        if self.num_workers != worker_group_state.num_workers:
            self.num_workers = worker_group_state.num_workers
            self._send_resource_request()
        return super().make_decision_for_running_worker_group(
            worker_group_state, worker_group_status
        )


class _Seam(WorkerGroupCallback):  # type: ignore[misc]
    """The way to our controller; it stays while worker groups come and go.

    A callback only because Ray Train hands those on to every worker group.
    """

    def __init__(self, controller: Any) -> None:
        self._controller = controller
        self.num_reported = 0

    def ask(
        self, ended: Collection[str], timeout_s: float | None
    ) -> tuple[Orders, list[Record]] | None:
        """Return the orders and the new checkpoints, or None if the answer is late.

        Raises:
            RayActorError: The controller is lost, and with it the run.
        """
        questions = [
            self._controller.orders.remote(tuple(ended)),
            self._controller.checkpoints.remote(self.num_reported),
        ]
        try:
            orders, records = ray.get(questions, timeout=timeout_s)
        except GetTimeoutError:
            return None
        return orders, records


class _Unattended(ReplicaGroup):  # type: ignore[misc]
    """A newcomer, for callbacks that want something done there: it is sent, not waited for."""

    def execute(self, fn: Any, *fn_args: Any, **fn_kwargs: Any) -> Any:
        return self.execute_async(fn, *fn_args, **fn_kwargs)


class _WorkerGroup(WorkerGroup):  # type: ignore[misc]
    """A worker group that carries out orders at each poll."""

    def __init__(
        self, train_run_context: Any, worker_group_context: Any, callbacks: Any = None
    ) -> None:
        super().__init__(train_run_context, worker_group_context, callbacks)
        self._seam = self._callback(_Seam)
        self._processes: dict[str, Process] = {}
        self._ended: set[str] = set()
        self._places = Places(
            _prefix(train_run_context),
            worker_group_context.resources_per_worker,
            worker_group_context.placement_strategy,
            worker_group_context.label_selector,
        )

    def _start_impl(self, worker_group_state_builder: Any) -> None:
        release_placement_groups(_prefix(self._train_run_context))  # of a group that ended badly
        super()._start_impl(worker_group_state_builder)
        for worker in self.get_workers():
            place = self._shared[worker.placement_group_bundle_index]
            self._processes[_label(worker)] = Process(worker, place)

    def _create_placement_group(
        self, scaling_config: Any, worker_group_context: Any
    ) -> DefaultPlacementGroupHandle:
        self._shared = self._places.share(worker_group_context.num_workers)
        return DefaultPlacementGroupHandle(self._shared[0].group)

    def _clear_state(self) -> None:
        for process in self._processes.values():
            _end(process)
        self._processes.clear()
        super()._clear_state()

    def _poll_workers_and_collect_errors(self, timeout: float | None) -> list[WorkerStatus]:
        polled = super()._poll_workers_and_collect_errors(timeout)
        statuses = dict(zip(map(_label, self.get_workers()), polled, strict=True))
        statuses |= self._poll_others()
        for label, status in statuses.items():
            self._processes[label].fate = _fate(status)
        self._ended |= {label for label in statuses if self._processes[label].fate != "runs"}
        is_current = False
        if (answer := self._seam.ask(self._ended, timeout)) is not None:
            orders, records = answer
            is_current = self._carry_out(orders)
            self._register(records)
        mine = [statuses.get(_label(w), WorkerStatus(running=True)) for w in self.get_workers()]
        return _as_shown(mine, is_current=is_current)

    def _poll_others(self) -> dict[str, WorkerStatus]:
        """Return how those are that are no members, as far as they have answered."""
        members = set(map(_label, self.get_workers()))
        statuses = {}
        for label, process in self._processes.items():
            if label in members:
                continue
            process.poll = process.poll or process.worker.actor.poll_status.remote()
            if not _is_there(process.poll):
                continue
            try:
                statuses[label] = ray.get(process.poll)
            except RayError as error:
                failure = WorkerHealthCheckFailedError("a newcomer failed", error)
                statuses[label] = WorkerStatus(running=False, error=failure)
            if (problem := statuses[label].error) is not None:
                _LOG.warning(
                    "worker %s, which is no member of the group, failed: %s", label, problem
                )
            process.poll = None
        return statuses

    def _carry_out(self, orders: Orders) -> bool:
        """Do what the orders say; return whether Ray's picture of the group is true now."""
        for label in orders.workers.keys() & self._processes.keys():
            self._processes[label].has_dialled = True
        is_true = self._follow(orders.members)
        members = set(map(_label, self.get_workers()))
        todo = plan(orders, self._processes, members)
        for label in todo.end:
            _end(self._processes[label])
            if label not in members:
                del self._processes[label]
        for _ in range(todo.start):
            self._start_newcomer(orders)
        return is_true

    def _start_newcomer(self, orders: Orders) -> None:
        """Send everything that makes a worker of a process, in order, and wait for nothing.

        Ray Train shows the workers that it starts on one node each other's GPUs. A newcomer sees
        its own alone, and is not seen by the others: what NCCL finds out must be the same on both
        sides of a connection.
        """
        context = self._worker_group_context
        place = self._places.take(places_in_use(orders, self._processes))
        strategy = PlacementGroupSchedulingStrategy(place.group, place.bundle)
        actor = (
            ray.remote(self._worker_cls)
            .options(
                scheduling_strategy=strategy,
                runtime_env=self._get_worker_runtime_env(
                    self._train_run_context.run_config.worker_runtime_env
                ),
                **bundle_to_remote_args(context.resources_per_worker),
            )
            .remote()
        )
        worker = Worker(actor, None, context.resources_per_worker)
        metadata = actor.get_metadata.remote()
        checkpoint = self._callback(CheckpointManager).before_init_train_context([worker])
        actor.init_train_context.remote(
            train_run_context=self._train_run_context,
            distributed_context=_ALONE,
            synchronization_actor=self._worker_group_state.sync_actor,
            storage_context=self._storage_context,
            worker_callbacks=self._worker_callbacks_to_propagate,
            controller_actor=ray.get_runtime_context().current_actor,
            **{name: values[0] for name, values in checkpoint.items()},
        )
        newcomer = _Unattended([worker], context.resources_per_worker)
        for callback in self._replica_group_callbacks:
            callback.after_replica_group_start(newcomer)
        log_path = worker.execute_async(train_logging.get_train_application_worker_log_path)
        actor.run_train_fn.remote(context.train_fn_ref)
        self._processes[_label(worker)] = Process(worker, place, about=(metadata, log_path))

    def _follow(self, members: Sequence[str]) -> bool:
        """Make Ray's group that of the newest generation, in its order of ranks.

        What Ray Train's own callbacks remember of a group is changed as well; those that are not
        named here remember nothing, or only for ``ray.train.report``.

        Returns:
            False while what Ray must know of a member is still on the way.
        """
        processes = [self._processes[label] for label in members if label in self._processes]
        workers = [process.worker for process in processes]
        if not workers or list(map(_label, workers)) == list(map(_label, self.get_workers())):
            return True
        if not all(map(_is_known, processes)):
            return False
        nodes = [worker.metadata.node_id for worker in workers]
        for worker, mine in zip(workers, ranks(nodes), strict=True):
            worker.distributed_context = _distributed_context(mine)
        self._worker_group_state: Any = replace(self._worker_group_state, workers=workers)
        context = replace(self._worker_group_context, num_workers=len(workers))
        self._worker_group_context: Any = context
        self._replica_groups = [
            ReplicaGroup([w], w.resources, self._replica_group_callbacks) for w in workers
        ]
        self._worker_rank_to_replica_group_rank = {rank: rank for rank in range(len(workers))}
        self._world_rank_to_ongoing_poll.clear()
        self._callback(ReportCallbackHandler).after_replica_group_start(self._replica_groups[0])
        if (recorder := self._callback(StateManagerCallback)) is not None:
            recorder._state_manager.update_train_run_attempt_running(
                recorder._run_id, context.run_attempt_id, workers
            )
        return True

    def _register(self, records: Sequence[Record]) -> None:
        """Make checkpoints known to Ray Train, each by a file that points to it.

        Our checkpoints follow our own rules of retention: Ray Train would fail over one that it
        knows and that is gone.
        """
        handler = self._callback(ReportCallbackHandler)
        for record in records:
            name = f"checkpoint_{self._seam.num_reported:06d}"
            checkpoint = self._pointer(name, record["location"])
            metrics = {"update": record["update"], "samples": record["samples"]}
            metrics |= record.get("metrics") or {}
            report = _TrainingReport(checkpoint=checkpoint, metrics=metrics, validation=False)
            for callback in handler._report_callbacks:
                callback.after_report(training_report=report, metrics=[metrics])
            self._seam.num_reported += 1

    def _pointer(self, name: str, location: str) -> Checkpoint:
        path = self._storage_context.build_checkpoint_path_from_name(name)
        filesystem = self._storage_context.storage_filesystem
        filesystem.create_dir(path)
        with filesystem.open_output_stream(f"{path}/{POINTER_FILE}") as file:
            file.write(json.dumps({"checkpoint": location}).encode())
        return Checkpoint(path, filesystem)

    def _callback(self, kind: type) -> Any:
        return next((each for each in self._callbacks if isinstance(each, kind)), None)


class _TrainController(TrainController):  # type: ignore[misc]
    worker_group_cls = _WorkerGroup


def set_context(
    rank: int, world_size: int, local_rank: int, local_world_size: int, node_rank: int
) -> None:
    """Make ``ray.train.get_context()`` and the variables of `torchrun` true in this worker.

    Called in the worker's process, at each new generation.

    Args:
        rank: The worker's number in the group, below ``world_size``.
        world_size: Workers in the group.
        local_rank: Its number among the workers on its node, below ``local_world_size``.
        local_world_size: Workers of the group on its node.
        node_rank: The number of its node.
    """
    mine = Ranks(rank, world_size, local_rank, local_world_size, node_rank)
    context = train_context.get_train_context()
    context.distributed_context = _distributed_context(mine)
    os.environ |= {name.upper(): str(number) for name, number in asdict(mine).items()}
    for logger in (logging.getLogger("ray.train"), logging.getLogger()):
        for filter_ in (each for handler in logger.handlers for each in handler.filters):
            if isinstance(filter_, train_logging.TrainContextFilter):
                filter_.__init__(context)  # it copied the ranks


def _distributed_context(mine: Ranks) -> Any:
    numbers = asdict(mine)
    return train_context.DistributedContext(world_rank=numbers.pop("rank"), **numbers)


def _prefix(run: Any) -> str:
    return f"absa-{run.run_id}-"


def _label(worker: Worker) -> str:
    return str(worker.actor._actor_id.hex())


def _is_there(answer: Any) -> bool:
    return bool(ray.wait([answer], timeout=0)[0])


def _is_known(process: Process) -> bool:
    """Complete Ray's record of a newcomer; return False while its answer is on the way."""
    if process.about is None:
        return True
    if not all(map(_is_there, process.about)):
        return False
    # It answered before its training function began, so neither can have failed.
    process.worker.metadata, process.worker.log_file_path = ray.get(list(process.about))
    process.about = None
    return True


def _end(process: Process) -> None:
    if not process.was_ended:
        ray.kill(process.worker.actor)
        give_back(process.place)
        process.was_ended = True


def _fate(status: WorkerStatus | None) -> Fate:
    if status is None:
        return "runs"
    error = status.error
    if isinstance(error, WorkerHealthCheckFailedError):
        error = error.health_check_failure
    if isinstance(error, ActorUnavailableError):
        return "runs"  # if it does not come back, its lease ends
    if isinstance(error, RayActorError | WorkerHealthCheckTimeoutError):
        return "lost"
    if error is not None:
        return "raised"
    if status.running:
        return "runs"
    return "left" if status.return_value == LEFT else "done"


def _as_shown(statuses: list[WorkerStatus], *, is_current: bool) -> list[WorkerStatus]:
    """Hide from Ray Train what the group survives: it would start all of it again."""
    fates = [_fate(status) for status in statuses]
    if "raised" in fates:
        return statuses
    if not is_current:  # who the members are, and the last checkpoints, come with the next poll
        return [WorkerStatus(running=True) for _ in statuses]
    if goes_on(fates):
        return [s if s.error is None else WorkerStatus(running=True) for s in statuses]
    if is_deserted(fates):
        error = ResizeError("every worker has left the group, and none is there to go on")
        return [replace(status, error=error) for status in statuses]
    return statuses


PRIVATE: tuple[Private, ...] = (
    (TorchTrainer, "_initialize_and_run_controller", "self controller_init_kwargs"),
    (TrainController, "run", "self"),
    (TrainController, "get_result", "self"),
    (TrainController, "worker_group_cls", "train_run_context worker_group_context callbacks"),
    (constants, "get_env_vars_to_propagate", ""),
    (constants, "ENABLE_PREEMPTION_WATCHER_ENV_VAR", ""),
    (_TorchBackend, "on_start", "self worker_group backend_config"),
    (_TorchBackend, "on_shutdown", "self worker_group backend_config"),
    (FixedScalingPolicy, "_get_num_workers_for_resource_request", "self"),
    (FixedScalingPolicy, "_send_resource_request", "self"),
    (
        FixedScalingPolicy,
        "make_decision_for_running_worker_group",
        "self worker_group_state worker_group_status",
    ),
    (WorkerGroup, "_start_impl", "self worker_group_state_builder"),
    (WorkerGroup, "_create_placement_group", "self scaling_config worker_group_context"),
    (WorkerGroup, "_poll_workers_and_collect_errors", "self timeout"),
    (WorkerGroup, "_get_worker_runtime_env", "custom_runtime_env"),
    (WorkerGroup, "_clear_state", "self"),
    (WorkerGroup, "get_workers", "self"),
    (
        WorkerGroup.__init__,
        SETS,
        "_train_run_context _worker_group_context _storage_context _callbacks "
        "_replica_group_callbacks _worker_callbacks_to_propagate _worker_group_state "
        "_replica_groups _worker_rank_to_replica_group_rank _world_rank_to_ongoing_poll",
    ),
    (
        WorkerGroupContext,
        "__init__",
        "self run_attempt_id train_fn_ref num_workers resources_per_worker placement_strategy "
        "label_selector num_slices",
    ),
    (WorkerGroupState, "__init__", "self start_time placement_group_handle workers sync_actor"),
    (
        Worker,
        "__init__",
        "self actor metadata resources distributed_context log_file_path "
        "placement_group_bundle_index",
    ),
    (Worker, "execute_async", "self fn fn_args fn_kwargs"),
    (
        WorkerStatus,
        "__init__",
        "self running error training_report return_value preemption_info",
    ),
    (ReplicaGroup, "__init__", "self workers resources_per_worker callbacks"),
    (ReplicaGroup, "execute", "self fn fn_args fn_kwargs"),
    (RayTrainWorker, "get_metadata", "self"),
    (RayTrainWorker, "poll_status", "self"),
    (RayTrainWorker, "run_train_fn", "self train_fn_ref"),
    (
        RayTrainWorker,
        "init_train_context",
        "self train_run_context distributed_context synchronization_actor storage_context "
        "worker_callbacks controller_actor dataset_shard_provider checkpoint has_validation_fn "
        "current_report_index",
    ),
    (WorkerHealthCheckFailedError, "__init__", "self message failure"),
    (WorkerHealthCheckFailedError.__init__, SETS, "health_check_failure"),
    (DefaultPlacementGroupHandle, "__init__", "self pg"),
    (CheckpointManager, "before_init_train_context", "self workers"),
    (CheckpointManager, "after_report", "self training_report metrics"),
    (ReportCallbackHandler, "after_replica_group_start", "self replica_group"),
    (ReportCallbackHandler.__init__, SETS, "_report_callbacks"),
    (_TrainingReport, "__init__", "self checkpoint metrics validation"),
    (StorageContext, "build_checkpoint_path_from_name", "self checkpoint_name"),
    (StateManagerCallback.after_controller_start, SETS, "_state_manager _run_id"),
    (TrainStateManager, "update_train_run_attempt_running", "self run_id attempt_id workers"),
    (train_context, "get_train_context", ""),
    (train_context.TrainContext, "distributed_context", ""),
    (
        train_context.DistributedContext,
        "__init__",
        "self world_rank world_size local_rank local_world_size node_rank",
    ),
    (train_logging, "get_train_application_worker_log_path", ""),
    (train_logging.TrainContextFilter, "__init__", "self context"),
    (ActorHandle, "_actor_id", ""),
)
"""What this file needs of Ray's inside; see `cluster.elastic.ray_gate.changed`."""

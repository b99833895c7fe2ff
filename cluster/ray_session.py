"""A Ray to train on: the cluster that the job names, or one of our own on this machine."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from absa.errors import ClusterError, ConfigError
from absa.host_memory import ONE_ARENA
from cluster.interrupt import handlers_kept
from cluster.job import Job
from cluster.own_ray import QUIET, environment, first_line, own_ray, own_settings

CONNECT_SETTINGS = {
    # Ray tries once a second, even a wrong token.
    "RAY_NUM_REDIS_GET_RETRIES": "5",
}

_CONNECT_S = 5.0
"""How long a cluster may take to accept a connection; Ray itself would try for a minute."""


def ray_environment(job: Job) -> contextlib.AbstractContextManager[None]:
    """Set the environment for the duration of a ``with`` block.

    Ray is imported inside it: it reads its settings once, when it is loaded.
    """
    more = CONNECT_SETTINGS if job.cluster.address else own_settings()
    return environment(_driver_settings(job) | more)


@contextlib.contextmanager
def ray_session(job: Job) -> Iterator[None]:
    """Connect to Ray for the duration of a ``with`` block, inside its `ray_environment`.

    Args:
        job: ``cluster.address`` is ``host:port`` of a cluster, or None for a Ray of our own that
            ends with the block.

    Raises:
        ClusterError: No cluster answers at the address, or it does not let us in.
    """
    if job.cluster.address is None:
        with own_ray():
            yield
    else:
        with _connected(job, job.cluster.address):
            yield


def _driver_settings(job: Job) -> dict[str, str]:
    """Return what Ray reads from the driver's environment; what a user set stays."""
    settings = {
        # Ray Train looks every 2 s whether the workers are done; the end of a run waits for it.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(job.workers.wait_s),
        # Workers stay in the folder of the command, so that a task's relative paths hold.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # Ray prints a paragraph for each process that is lost; the journal says it in a line.
        "RAY_DEDUP_LOGS_SKIP_REGEX": "^A worker died or was killed while executing a task",
    }
    return {name: os.environ.get(name, value) for name, value in settings.items()}


@contextlib.contextmanager
def _connected(job: Job, address: str) -> Iterator[None]:
    _check_reachable(job, address)
    import ray

    try:
        with handlers_kept(), _silent():
            ray.init(address=address, runtime_env=_paths_of_here(), **QUIET)
    except Exception as error:
        ray.shutdown()
        raise ClusterError(
            f"{job.place('cluster.address')}: cluster.address: the Ray cluster at {address} does "
            f"not let us in ({first_line(error)}); run absa on a machine of the cluster, with the "
            "same versions of Python and Ray, and with the cluster's token in RAY_AUTH_TOKEN if "
            "it has one"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop what is written to the standard error: Ray's C++ part shows every attempt there."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _paths_of_here() -> dict[str, object]:
    """Let the cluster's workers find absa and the task where we do, if they see the same files.

    A cluster's own processes know neither our folder nor our ``PYTHONPATH``.
    """
    paths = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), str(Path.cwd())]
    return {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **ONE_ARENA}}


def _check_reachable(job: Job, address: str) -> None:
    where = f"{job.place('cluster.address')}: cluster.address"
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ConfigError(
            f"{where} is {address!r}; it must be HOST:PORT of a running Ray cluster, as "
            "`ray start --head` prints it"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"{where}: nothing answers at {address} ({error}); start a cluster with `ray start "
            "--head`, or leave cluster.address out to train on this machine"
        ) from error

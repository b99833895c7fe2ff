"""A Ray of our own on this machine, which nobody else can reach and which ends with us.

Touches Ray internals: ``ray_constants.ENABLE_RAY_CLUSTER`` (see `_loopback_only`) and the arguments
``_temp_dir`` and ``_node_ip_address`` of `ray.init`.
"""

import contextlib
import logging
import os
import secrets
import sys
from collections.abc import Iterator

from absa.errors import AbsaError, ClusterError, InputError
from absa.host_memory import ONE_ARENA
from cluster.exit_code import TrainingFailedError
from cluster.interrupt import handlers_kept
from cluster.session_folder import SessionFolder

_OBJECT_STORE_BYTES = 100 << 20
"""Holds the job and one snapshot of Ray Train's; nothing of ours goes through it."""

_TOKEN = secrets.token_hex(32)
"""One for the life of the process: Ray reads it once."""

QUIET: dict[str, object] = {
    "namespace": "absa",
    "log_to_driver": False,
    "logging_level": logging.ERROR,
    "configure_logging": True,
}


class RayLostError(TrainingFailedError):
    """Training failed for a reason that Ray's logs may tell more about."""


@contextlib.contextmanager
def own_ray() -> Iterator[None]:
    """Run Ray on this machine for the duration of a ``with`` block, with `own_settings` in force.

    Its logs stay when the block fails for a reason that is not the user's input.

    Raises:
        ClusterError: Ray does not start.
    """
    folder = SessionFolder()
    try:
        with _started(folder):
            yield
    except (InputError, KeyboardInterrupt):
        raise
    except RayLostError as error:
        folder.keep()
        raise RayLostError(f"{error}\nRay's logs are kept in {folder.logs}") from error
    except Exception as error:
        if not isinstance(error, AbsaError):
            folder.keep()
            error.add_note(f"Ray's logs are kept in {folder.logs}")
        raise
    finally:
        folder.close()


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the duration of a ``with`` block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def own_settings() -> dict[str, str]:
    """Return the environment that a Ray of our own needs, in this process and in all of its."""
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        # Ray's default niceness of 15 starves workers on a busy machine.
        "RAY_worker_niceness": "0",
        **ONE_ARENA,
        # Any free port: with Ray's fixed ones a second run on this machine would have none.
        "AUTOSCALER_METRIC_PORT": "0",
        "DASHBOARD_METRIC_PORT": "0",
        # Nobody takes this machine away, and the watcher is one more process to start.
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    }
    if sys.platform == "linux":
        settings["GLOO_SOCKET_IFNAME"] = "lo"
    return settings


@contextlib.contextmanager
def _started(folder: SessionFolder) -> Iterator[None]:
    import ray

    try:
        try:
            with environment(folder.environment), handlers_kept(), _loopback_only() as address:
                ray.init(
                    address="local",
                    num_cpus=os.cpu_count(),
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _node_ip_address=address,
                    _temp_dir=folder.path,
                    **QUIET,
                )
        except SystemExit as error:  # Ray's own handler of SIGTERM, while it starts
            raise KeyboardInterrupt from error
        except Exception as error:
            folder.keep()
            raise ClusterError(
                f"Ray did not start on this machine ({first_line(error)}); its logs are kept in "
                f"{folder.logs}; `absa train --local` trains without Ray"
            ) from error
        yield
    finally:
        ray.shutdown()


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


@contextlib.contextmanager
def _loopback_only() -> Iterator[str]:
    """Let Ray listen on 127.0.0.1 alone; yield the address to give to it.

    On Linux Ray replaces 127.0.0.1 by the machine's outside address and listens on all interfaces;
    on macOS and Windows it does not, and what makes the difference is this constant. Without it
    (another version of Ray) 127.0.0.2 still keeps the traffic on this machine, but the ports are
    open to the outside and only the token keeps others away.
    """
    from ray._private import ray_constants

    name = "ENABLE_RAY_CLUSTER"
    if not hasattr(ray_constants, name):
        yield "127.0.0.2"
        return
    before = getattr(ray_constants, name)
    setattr(ray_constants, name, False)
    try:
        yield "127.0.0.1"
    finally:
        setattr(ray_constants, name, before)

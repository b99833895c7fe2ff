"""A Ray to train on: the cluster that the job names, or one of our own on this machine."""

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator

from absa.errors import ClusterError


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Connect to Ray for the duration of a ``with`` block.

    Args:
        address: ``host:port`` of a cluster, or None for a Ray of our own that ends with the block.

    Raises:
        ClusterError: No cluster answers at the address.
    """
    if address is None:
        with _own_ray():
            yield
        return
    import ray

    try:
        ray.init(address=address, **_quiet())
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"cluster.address: no Ray cluster answers at {address!r} ({_first_line(error)}); start "
            "one with `ray start --head`, or leave cluster.address out to train on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _own_ray() -> Iterator[None]:
    # A short path: Ray makes Unix sockets below it, whose paths are limited to 107 bytes.
    folder = tempfile.mkdtemp(prefix="absa-", dir="/tmp")
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray's default niceness of 15 starves workers on a busy machine.
        "RAY_worker_niceness": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
    }
    with _environment(environment):
        import ray

        try:
            ray.init(
                address="local",
                num_cpus=os.cpu_count(),
                include_dashboard=False,
                # Without it Ray listens on the machine's outside address.
                _node_ip_address="127.0.0.2",
                _temp_dir=folder,
                object_store_memory=100 << 20,
                **_quiet(),
            )
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def _quiet() -> dict[str, object]:
    return {
        "namespace": "absa",
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": True,
    }


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
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

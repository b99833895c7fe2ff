"""``absa scale``, ``hold`` and ``limit``: ask something of a run that is training."""

import json
import socket
from dataclasses import dataclass
from multiprocessing.connection import answer_challenge, deliver_challenge
from typing import Any

from absa.errors import ClusterError, ConfigError
from absa.run_folder import RunFolder, open_run
from absa.storage import LocalStorage
from cluster.operator import Order
from cluster.operator_line import BROKEN, CONTROL_FILE, MAX_BYTES, PATIENCE_S, connection


@dataclass(frozen=True)
class _Control:
    """Where a run's operator line is, and its key."""

    ip: str
    port: int
    key: bytes


def steer(reference: str, order: Order, storage: str) -> str:
    """Ask something of a run; return its answer.

    Args:
        reference: The run, as `open_run` takes it.
        order: What is asked for.
        storage: Where runs are looked for by name.

    Raises:
        ConfigError: The run refuses it, or lies where it cannot be reached.
        ClusterError: It is not training.
    """
    run = open_run(reference, storage)
    answer = _ask(_control(run), order, run)
    if answer.get("ok") is not True:
        raise ConfigError(f"{run.name}: {answer.get('text')}")
    return f"{run.name}: {answer.get('text')}"


def _control(run: RunFolder) -> _Control:
    if not isinstance(run.storage, LocalStorage):
        raise ConfigError(
            f"{run.location}: a run in an object store cannot be reached: the key of its line must "
            "not lie there; say in elastic.plan how many workers it shall have when, or let runs "
            "lie on a path (storage)"
        )
    if CONTROL_FILE not in run.storage.entries():
        raise _not_training(run, f"there is no {CONTROL_FILE}")
    content = run.storage.read(CONTROL_FILE)
    try:
        said = json.loads(content)
        return _Control(str(said["ip"]), int(said["port"]), bytes.fromhex(said["key"]))
    except (ValueError, KeyError, TypeError):
        raise _not_training(run, f"its {CONTROL_FILE} is damaged") from None


def _ask(control: _Control, order: Order, run: RunFolder) -> dict[str, Any]:
    try:
        peer = socket.create_connection((control.ip, control.port), timeout=PATIENCE_S)
        with connection(peer, PATIENCE_S) as line:
            answer_challenge(line, control.key)
            deliver_challenge(line, control.key)
            line.send_bytes(order.write())
            answer = json.loads(line.recv_bytes(MAX_BYTES))
    except (*BROKEN, OverflowError, ValueError) as error:
        why = f"it does not answer at {control.ip}:{control.port}"
        raise _not_training(run, why) from error
    return answer if isinstance(answer, dict) else {"text": "it does not say what it means"}


def _not_training(run: RunFolder, why: str) -> ClusterError:
    return ClusterError(
        f"{run.location} is not training on Ray now ({why}); to go on with it and more workers: "
        f"absa train --resume {run.location} --set workers.min=N"
    )

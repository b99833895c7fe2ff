from typing import Any

import pytest


@pytest.fixture
def journal() -> list[dict[str, Any]]:
    """One record of every kind, and three evaluations."""

    def record(event: str, at_s: float, at_epoch: float, **keys: Any) -> dict[str, Any]:
        at = {
            "time": 1e9 + at_s,
            "samples": round(at_epoch * 1000),
            "update": round(at_epoch * 20),
        }
        return {"event": event, "lineage": 0, "generation": 2, **at, **keys}

    return [
        {"event": "phase", "text": "starting Ray ..."},
        record(
            "run_started",
            0,
            0,
            name="digits",
            model="resnet20",
            task="images",
            num_parameters=270_000,
            num_train=1000,
            workers=2,
            device="cpu",
            threads=1,
            total_samples=60_000,
            resumed_from=None,
        ),
        record(
            "observation",
            4,
            1,
            loss=0.0421,
            learning_rate=0.0875,
            global_batch=64,
            workers=2,
            samples_per_s=12_400,
            progress=0.3,
            time_left_s=31,
            epoch=1.0,
        ),
        record("evaluation", 5, 1, metrics={"accuracy": 0.9, "loss": 0.3}, best=True, seconds=0.1),
        record("settings", 5, 1, changed={"global_batch": [64, 128]}, reason="noise is small"),
        record("evaluation", 6, 2, metrics={"accuracy": 0.8, "loss": 0.4}, best=False, seconds=0.1),
        record("checkpoint", 6, 2, checkpoint="update-9", seconds=0.02, bytes=1e6, best=False),
        record("update_skipped", 6, 2.5, reason="loss is not finite", consecutive=2),
        record("fault", 6, 2.6, what="worker lost", detail="node gone"),
        record(
            "evaluation", 7, 3, metrics={"accuracy": 0.9861, "loss": 0.2}, best=True, seconds=0.1
        ),
        record(
            "observation",
            7,
            3,
            loss=0.0421,
            learning_rate=0.0875,
            global_batch=64,
            workers=2,
            samples_per_s=12_400,
            progress=0.3,
            time_left_s=31,
            epoch=3.0,
        ),
        record(
            "run_ended", 8, 3, reason="epochs", metrics={"accuracy": 0.9861}, seconds=8, skipped=1
        ),
    ]

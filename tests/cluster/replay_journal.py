"""A plausible journal, made without training: 60 epochs, a batch that grows from 64 to 512,
a worker that joins, a skipped update, a fault and a resume.

`python tests/cluster/replay_journal.py FOLDER` writes it as a run folder;
`python tests/cluster/replay_journal.py --show [SECONDS]` replays it to the view of the terminal.
"""

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NUM_TRAIN, EPOCHS, START = 1437, 60, 1_760_000_000.0
GROWTHS = {12: 128, 24: 256, 38: 512}
JOB = """\
name: digits
seed: 0
data: {name: digits}
model: {name: small_cnn, norm: batch}
batch: {initial: 64, max: 512, micro: 64, bn_group: 64}
optimizer: {name: sgd, lr: 0.1, momentum: 0.9, weight_decay: 0.0005}
schedule:
  scaling: linear
  warmup: {kind: gradual, epochs: 5.0}
  decay: {kind: cosine}
stop: {epochs: 60}
workers: {min: 1, max: 2}
storage: runs
"""


def wobble(i: int, size: float) -> float:
    """A deterministic noise in [-size, size]."""
    return size * math.sin(i * 12.9898) * math.cos(i * 78.233)


class Clock:
    def __init__(self) -> None:
        self.time, self.samples, self.update, self.lineage = START, 0, 0, 0
        self.generation, self.batch, self.workers, self.best = 0, 64, 1, 0.0

    def record(self, event: str, **keys: Any) -> dict[str, Any]:
        position = {"update": self.update, "samples": self.samples}
        owner = {"lineage": self.lineage, "generation": self.generation}
        return {"event": event, "time": round(self.time, 3), **owner, **position, **keys}


def journal(*, resumed: bool = True) -> list[dict[str, Any]]:
    """The records of a run; ``resumed``: interrupted at epoch 33, it goes on from 30."""
    clock = Clock()
    if not resumed:
        return [*started(clock, None), *train(clock, 0, EPOCHS), *ended(clock, "epochs")]
    records = [*started(clock, None), *train(clock, 0, 30)]
    resume_samples, resume_update, best = clock.samples, clock.update, clock.best
    records += [*train(clock, 30, 33), *ended(clock, "interrupted")]
    clock.time += 3600.0
    clock.samples, clock.update, clock.best = resume_samples, resume_update, best
    clock.lineage, clock.generation = 1, 0
    return [
        *records,
        *started(clock, f"update-{resume_update:08d}"),
        *train(clock, 30, EPOCHS),
        *ended(clock, "epochs"),
    ]


def started(clock: Clock, resumed_from: str | None) -> Iterator[dict[str, Any]]:
    yield clock.record(
        "run_started",
        run="digits-20260101-k3f9",
        name="digits",
        task="image classification",
        model="small_cnn",
        num_parameters=37_866,
        num_train=NUM_TRAIN,
        num_evaluation=360,
        workers=clock.workers,
        device="cpu",
        threads=2,
        total_samples=NUM_TRAIN * EPOCHS,
        resumed_from=resumed_from,
    )


def train(clock: Clock, first: int, last: int) -> Iterator[dict[str, Any]]:
    for epoch in range(first, last):
        yield from changes(clock, epoch)
        remaining = NUM_TRAIN
        while remaining:
            batch = min(clock.batch, remaining)
            remaining -= batch
            clock.samples += batch
            clock.update += 1
            clock.time += batch / (
                1900 + 1100 * (clock.workers - 1) + 200 * wobble(clock.update, 1)
            )
            if clock.update == 350:
                yield clock.record("update_skipped", reason="loss is not finite", consecutive=1)
            if clock.update % 5 == 0:
                yield observation(clock)
        yield evaluation(clock)
        if epoch % 6 == 5:
            name = f"update-{clock.update:08d}"
            yield clock.record(
                "checkpoint", checkpoint=name, seconds=0.021, bytes=304_128, best=False
            )


def changes(clock: Clock, epoch: int) -> Iterator[dict[str, Any]]:
    if epoch in GROWTHS:
        old, clock.batch = clock.batch, GROWTHS[epoch]
        scale = clock.batch / 2
        reason = (
            f"noise scale {2.3 * scale:.0f} > 2 x batch {old}, loss falls {0.7:.1f} % per epoch"
        )
        changed = {"global_batch": [old, clock.batch]}
        yield clock.record("settings", changed=changed, reason=reason)
    if epoch == 20:
        yield resize(clock, 2, 0.083, "planned from epoch 20 on")
    if epoch == 45:
        yield clock.record("fault", what="worker 1 lost", detail="its node left; training goes on")
        yield resize(clock, 1, 0.41, "a worker was lost", lost=1)
    if epoch == 47:
        yield resize(clock, 2, 0.079, "planned from epoch 20 on")


def resize(
    clock: Clock, workers: int, seconds: float, reason: str, lost: int = 0
) -> dict[str, Any]:
    before, clock.workers = clock.workers, workers
    clock.generation += 1
    clock.time += seconds
    return clock.record(
        "resize",
        before=before,
        after=workers,
        joined=max(0, workers - before),
        left=max(0, before - workers - lost),
        lost=lost,
        reason=reason,
        seconds=seconds,
        phases={"group": 0.3 * seconds, "transfer": 0.7 * seconds},
    )


def observation(clock: Clock) -> dict[str, Any]:
    epoch = clock.samples / NUM_TRAIN
    rate = 0.1 * clock.batch / 64 * min(1.0, epoch / 5) * 0.5 * (1 + math.cos(math.pi * epoch / 60))
    micro = min(64, clock.batch // clock.workers)
    return clock.record(
        "observation",
        loss=2.3 * math.exp(-epoch / 4)
        + 0.012
        + abs(wobble(clock.update, 0.25)) * math.exp(-epoch / 9),
        gradient_norm=1.5 * math.exp(-epoch / 20) + abs(wobble(clock.update, 0.3)),
        learning_rate=rate,
        global_batch=clock.batch,
        micro_batch=micro,
        accumulation_steps=clock.batch // (micro * clock.workers),
        workers=clock.workers,
        samples_per_s=1900 + 1100 * (clock.workers - 1) + wobble(clock.update, 180),
        update_s=clock.batch / 2000,
        progress=epoch / EPOCHS,
        time_left_s=(EPOCHS - epoch) * NUM_TRAIN / 2400,
        epoch=epoch,
    )


def evaluation(clock: Clock) -> dict[str, Any]:
    epoch = clock.samples / NUM_TRAIN
    accuracy = round(360 * (0.986 - 0.8 * math.exp(-epoch / 3) + wobble(int(epoch), 0.006))) / 360
    best, clock.best = accuracy > clock.best, max(accuracy, clock.best)
    clock.time += 0.04
    metrics = {"loss": 2.3 * math.exp(-epoch / 5) + 0.05, "accuracy": accuracy}
    return clock.record("evaluation", metrics=metrics, seconds=0.04, best=best)


def ended(clock: Clock, reason: str) -> Iterator[dict[str, Any]]:
    yield clock.record(
        "run_ended",
        reason=reason,
        metrics={"loss": 0.051, "accuracy": 0.9861},
        best_metrics={"loss": 0.05, "accuracy": clock.best},
        seconds=clock.time - START,
        skipped=1,
        checkpoint=f"update-{clock.update:08d}",
    )


def write_run(folder: Path, records: list[dict[str, Any]], job: str = JOB) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.yaml").write_text(job, "utf-8")
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "events.jsonl").write_text(lines, "utf-8")
    return folder


def show(seconds: float) -> None:
    from cluster.views import make_view

    view = make_view(json=False)
    for text in ("starting Ray ...", "waiting for 1 worker ..."):
        view({"event": "phase", "text": text, "time": START - 2})
        time.sleep(seconds / 12)
    records = journal(resumed=False)
    for record in records:
        view(record)
        time.sleep(seconds / len(records))
    view(
        {
            "event": "run_folder",
            "path": "runs/digits-k3f9",
            "report": "runs/digits-k3f9/report.html",
        }
    )
    view.close()


if __name__ == "__main__":
    if sys.argv[1] == "--show":
        show(float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
    else:
        write_run(Path(sys.argv[1]), journal())

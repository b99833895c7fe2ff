"""What the loop writes down."""

import re

from engine import (
    Classify,
    Explodes,
    Points,
)
from measuring import curvature, noise
from outside import Run, rules

import absa.events
from absa.boundary import Command


def documented():
    """Return the keys that absa.events promises, by kind of record."""
    lines = absa.events.__doc__.split("The other keys, by kind:")[1].split("Views also")[0]
    kinds, kind = {}, ""
    for line in lines.strip().splitlines():
        kind = line.split()[0] if line and not line[0].isspace() else kind
        kinds[kind] = kinds.get(kind, "") + " " + line.removeprefix(kind)
    for kind, text in kinds.items():
        plain = re.sub(r"\([^()]*\)", "", re.sub(r"\([^()]*\)", "", text))
        kinds[kind] = {key.strip() for key in plain.split(",") if key.strip()}
    return kinds


def test_records_have_the_documented_keys():
    run = Run(
        Explodes(Points(20), at={2}),
        rules(evaluate_samples=8, observe_updates=2, noise_updates=1, curvature_samples=8),
        commands={1: Command("operator", global_batch=6)},
        instruments={"noise": noise(20), "curvature": curvature(20)},
    ).train()
    kinds = documented()
    common = {"event", "time", "lineage", "generation", "update", "samples"}
    assert {r["event"] for r in run.boundary.records} == {
        "run_started",
        "observation",
        "evaluation",
        "curvature",
        "update_skipped",
        "settings",
        "run_ended",
    }
    for record in run.boundary.records:
        assert (record["lineage"], record["generation"]) == (2, 5)
        keys = set(record) - common
        if record["event"] == "run_started":
            assert keys == {"name", "global_batch"}  # the rest is what the caller says
        else:
            assert keys == kinds[record["event"]], record["event"]


def test_a_checkpoint_says_what_it_is():
    run = Run(Classify(Points(20)), rules(evaluate_samples=8, checkpoint_samples=8)).train()
    (_, about), *_ = run.saver.saved
    assert set(about) == {
        *("time", "lineage", "generation", "update", "samples"),
        *("metrics", "best_metric", "best", "why"),
    }
    assert about["metrics"] == run.boundary.of("evaluation")[0]["metrics"]

"""Measures the curvature of the loss, as often as its cost allows."""

import math
from dataclasses import asdict, replace

from absa.curvature.probe import CurvatureProbe, problem_of, recall, remember
from absa.loop.observing import observe
from absa.loop.results import drain
from absa.loop.training import Training
from absa.rules import crossed


def measure_if_due(training: Training, before: int) -> None:
    """Measure at a boundary if it is time, unless that has been done at this point.

    Args:
        training: At the boundary.
        before: Samples consumed before the last update.

    Raises:
        DivergenceError: Too many updates in a row were skipped.
        MeasurementError: The model's curvature cannot be measured at all.
    """
    probe, samples = training.instruments.curvature, training.progress.samples
    if probe is None or not crossed(before, samples, training.rules.curvature_samples):
        return
    if samples < training.signals.not_before or training.standing.measured_at == samples:
        return
    drain(training)
    observe(training)
    _measure(training, probe)
    training.window.interrupt()


def _measure(training: Training, probe: CurvatureProbe) -> None:
    collective, replica = training.outside.collective, training.replica
    began_s = training.clock()
    known = recall(probe, replica, training.signals.num_measurements)
    decider, problem = training.rules.decider, problem_of(probe, replica, collective)
    question = None if decider is None else decider.question(training.policy)
    state, found = probe.tracker.measure(problem, known, question)
    # Clocks differ: the ranks go by that of rank 0.
    not_before = collective.broadcast_value(_not_before(training, began_s), source=0)
    remember(replica, state)
    num_measurements = 0 if state is None else state.num_measurements
    training.signals = replace(
        training.signals,
        num_measurements=num_measurements,
        not_before=not_before,
        # What a clock says is no part of a state that two runs have in common.
        curvature=replace(found, seconds=0.0),
        curvature_at=training.progress.samples,
    )
    training.step_done(measured_at=training.progress.samples)
    training.record("curvature", value=found.value, **asdict(found))


def _not_before(training: Training, began_s: float) -> int:
    """Return the samples at which what this measurement took is its share of the time."""
    samples, rules = training.progress.samples, training.rules
    samples_per_s = samples / training.training_s if training.training_s > 0 else 0.0
    return samples + math.ceil((training.clock() - began_s) / rules.curvature_share * samples_per_s)

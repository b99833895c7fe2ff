"""Judges the model, and remembers whether it is the best so far."""

import math
from dataclasses import replace

from absa.evaluate import evaluate
from absa.loop.observing import observe
from absa.loop.results import drain
from absa.loop.training import Training
from absa.rules import rate


def evaluate_once(training: Training) -> None:
    """Judge the model, unless it has been judged at this point.

    Raises:
        DivergenceError: Too many updates in a row were skipped.
        TaskError: The task's metrics broke their contract.
    """
    samples = training.progress.samples
    if training.standing.evaluated_at == samples:
        return
    drain(training)
    observe(training)
    started_s = training.clock()
    metrics = evaluate(
        training.replica.task,
        training.replica.model,
        training.instruments.evaluation,
        training.instruments.metric_names,
        training.rules.evaluate_batch,
        training.outside.collective,
    )
    improved = _improves(metrics, training.progress.best)
    if improved:
        training.progress = replace(training.progress, best=dict(metrics))
        training.stand(improved_at=samples)
    training.step_done(metrics=metrics, evaluated_at=samples)
    seconds = training.clock() - started_s
    training.record("evaluation", metrics=metrics, seconds=seconds, best=improved)
    training.window.interrupt()


def _improves(metrics: dict[str, float], best: dict[str, float] | None) -> bool:
    rating = rate(metrics)
    known = None if best is None else rate(best)
    return rating is not None and math.isfinite(rating) and (known is None or rating > known)

"""The signals of a journal's records, as a policy saw them; null stands for what is not finite."""

import math

from absa.events import Record
from absa.signals import Curvature, NoiseScale
from cluster.views.fields import number


def noise_of(record: Record, confidence: float) -> NoiseScale | None:
    """Return the noise scale of an observation; None if it had not been heard yet.

    Args:
        record: An observation.
        confidence: Of its interval, which the record does not say.
    """
    if "noise_lower" not in record:
        return None
    return NoiseScale(
        value=number(record, "noise_scale"),
        lower=_or(number(record, "noise_lower"), math.inf),
        upper=_or(number(record, "noise_upper"), math.inf),
        gradient_sq=_or(number(record, "gradient_sq"), math.nan),
        trace=_or(number(record, "noise_trace"), math.nan),
        confidence=confidence,
        num_updates=math.nan,  # not recorded; no policy reads it
    )


def curvature_of(record: Record) -> Curvature | None:
    """Return a measurement of curvature; None if the record is not one.

    Args:
        record: A curvature record.
    """
    stopped, values = record.get("stopped"), record.get("values")
    if not isinstance(values, list | tuple) or stopped not in _STOPPED:
        return None
    residuals = record.get("residuals")
    return Curvature(
        values=_floats(values),
        residuals=_floats(residuals if isinstance(residuals, list | tuple) else ()),
        lower=_or(number(record, "lower"), math.nan),
        upper=_or(number(record, "upper"), math.inf),
        failure_probability=_or(number(record, "failure_probability"), 0.0),
        stopped=stopped,
        num_products=int(_or(number(record, "num_products"), 0)),
        num_samples=int(_or(number(record, "num_samples"), 0)),
        seconds=0.0,  # as in the state of a run: no policy sees a clock
    )


_STOPPED = ("tolerance", "not_fallen", "fallen", "budget", "not_finite")


def _floats(values: list[object] | tuple[object, ...]) -> tuple[float, ...]:
    return tuple(_or(number({"value": value}, "value"), math.nan) for value in values)


def _or(value: float | None, instead: float) -> float:
    return instead if value is None else value

"""What a run is judged and measured with, beside its own updates."""

from dataclasses import dataclass

from absa.curvature.probe import CurvatureProbe
from absa.noise_scale.average import NoiseWindow
from absa.task import Source


@dataclass(frozen=True)
class NoiseMeter:
    """How the gradient noise of a run is averaged.

    Args:
        window: Over what.
        confidence: Of the intervals, in (0, 1).
    """

    window: NoiseWindow
    confidence: float


@dataclass(frozen=True)
class Instruments:
    """The same on every rank.

    Args:
        evaluation: The evaluation data.
        metric_names: What the task measures, without ``count``, in one order.
        curvature: How curvature is measured, or None: it is not.
        noise: How the gradient noise is averaged, or None: it is not looked at.
        missing: What of these the run must do without, and why: told when it starts.
    """

    evaluation: Source
    metric_names: tuple[str, ...]
    curvature: CurvatureProbe | None = None
    noise: NoiseMeter | None = None
    missing: tuple[str, ...] = ()

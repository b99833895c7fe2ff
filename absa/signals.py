"""What is measured of a run, as numbers: curvature and gradient noise, each with its error.

These are what policies, journals and charts read; nothing here needs torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from absa.errors import MeasurementError

Stopped = Literal["tolerance", "not_fallen", "fallen", "budget", "not_finite"]
"""Why a measurement of curvature ended.

tolerance: the value is as exact as was asked. not_fallen: the largest eigenvalue is certainly above
the level asked about. fallen: it is below that level, but for the stated probability of failure.
budget: as many products as were allowed have been made. not_finite: nothing was measured.
"""


@dataclass(frozen=True)
class Curvature:
    """The largest eigenvalues of the Hessian of the mean loss of fixed samples.

    Args:
        values: Ritz values, descending; each is at most the eigenvalue of its rank. Empty when
            nothing was measured.
        residuals: Norm of H v - value v for the unit Ritz vector v of each: some eigenvalue lies so
            near, not necessarily the one of that rank; NaN where it is not known.
        lower: The largest eigenvalue is at least this, but for rounding; NaN if not measured.
        upper: It is at most this, but for ``failure_probability``; inf if nothing is known.
        failure_probability: That ``upper`` is wrong, in [0, 1).
        stopped: Why the measurement ended.
        num_products: Hessian-vector products that it took.
        num_samples: Samples of the loss.
        seconds: Time that it took.
    """

    values: tuple[float, ...]
    residuals: tuple[float, ...]
    lower: float
    upper: float
    failure_probability: float
    stopped: Stopped
    num_products: int
    num_samples: int
    seconds: float

    @property
    def value(self) -> float:
        """Return the largest eigenvalue as found; NaN if not measured."""
        return self.values[0] if self.values else math.nan


@dataclass(frozen=True)
class FallTest:
    """Has the largest eigenvalue fallen to ``reference / factor`` or below?

    Args:
        reference: An earlier largest eigenvalue, > 0.
        factor: Above 1.
        failure_probability: That "fallen" is said though it has not, in (0, 1/2]. Small because a
            run asks often and acts on one wrong answer; only a fall, which is rare, costs more.
        exact: Whether the value is wanted as well where it has not fallen; the measurement then
            ends with "tolerance".
    """

    reference: float
    factor: float = 2.0
    failure_probability: float = 0.001
    exact: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.reference < math.inf:
            raise MeasurementError(
                f"a fall cannot be measured from a reference of {self.reference}: it must be "
                "positive and finite; take it from a measurement whose value is"
            )
        if not 1 < self.factor < math.inf:
            raise MeasurementError(f"a fall by a factor of {self.factor}: it must be above 1")
        if not 0 < self.failure_probability <= 0.5:
            raise MeasurementError(
                f"a fall with a failure probability of {self.failure_probability}: it must be "
                "above 0 and at most 0.5"
            )

    @property
    def level(self) -> float:
        """What the eigenvalue is compared with."""
        return self.reference / self.factor


@dataclass(frozen=True)
class NoiseScale:
    """The gradient noise scale, tr(Sigma) / |G|^2, with its confidence interval.

    Args:
        value: In samples; None if the gradient is not resolved: then ``lower`` is what is known.
        lower: Lower end of the interval, in samples, at least 0.
        upper: Upper end, in samples; inf if the data do not bound it.
        gradient_sq: Estimate of |G|^2, the squared norm of the true gradient; negative by noise.
        trace: Estimate of tr(Sigma), the trace of the covariance of single samples' gradients.
        confidence: Of the interval, in (0, 1).
        num_updates: How many updates of equal weight would have as narrow an interval for |G|^2.
    """

    value: float | None
    lower: float
    upper: float
    gradient_sq: float
    trace: float
    confidence: float
    num_updates: float

    @property
    def least(self) -> float:
        """Return the noise scale as found, or its lower end if the gradient is not resolved."""
        return self.lower if self.value is None else self.value


@dataclass(frozen=True)
class NoiseScales:
    """The gradient noise scale of the whole model and of its parts.

    Args:
        whole: Of all parameters together.
        groups: Of each group of parameters, by its name.
        preconditioned: As the optimizer sees it, or None for plain SGD.
    """

    whole: NoiseScale
    groups: Mapping[str, NoiseScale] = field(default_factory=dict)
    preconditioned: NoiseScale | None = None

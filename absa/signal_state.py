"""What the signals of a run have learnt so far: part of the state tree, the same on every rank."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from absa.noise_scale import average
from absa.noise_scale.average import NoiseAverage
from absa.noise_scale.sample import Norms
from absa.signals import Curvature
from absa.state import Json


@dataclass(frozen=True)
class SignalState:
    """What evolves of the signals, beside the tensors of `absa.update.replica.Replica.signals`.

    Args:
        noise: Averages of the norms of gradients.
        gradient: Squared norms, per tensor, of the gradient that was stepped with last; empty
            where no trust ratio is made of it.
        num_measurements: Measurements of curvature so far.
        not_before: Samples before which curvature is not measured again.
        curvature: The last measurement of it, without its time; None before the first.
        curvature_at: Samples after which that was made.
    """

    noise: NoiseAverage = field(default_factory=NoiseAverage)
    gradient: Norms = ()
    num_measurements: int = 0
    not_before: int = 0
    curvature: Curvature | None = None
    curvature_at: int | None = None


def as_values(state: SignalState) -> dict[str, Json]:
    """Return it as plain values."""
    return {
        "noise": average.as_values(state.noise),
        "gradient": list(state.gradient),
        "num_measurements": state.num_measurements,
        "not_before": state.not_before,
        "curvature": None if state.curvature is None else asdict(state.curvature),
        "curvature_at": state.curvature_at,
    }


def from_values(values: Mapping[str, Json]) -> SignalState:
    """Return what `as_values` was given, to the bit.

    Raises:
        CheckpointError: The averages are of another form.
        TypeError: There is more in it.
    """
    noise, gradient = average.from_values(values["noise"]), tuple(values["gradient"])
    return SignalState(
        **{**values, "noise": noise, "gradient": gradient, "curvature": _curvature(values)}
    )


def _curvature(values: Mapping[str, Json]) -> Curvature | None:
    found = values.get("curvature")
    if found is None:
        return None
    lists = {name: tuple(found[name]) for name in ("values", "residuals")}
    return Curvature(**{**found, **lists})

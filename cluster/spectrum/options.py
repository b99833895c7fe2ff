"""What a user may say about a spectrum, and what it will cost."""

from dataclasses import dataclass

from absa.errors import ConfigError

NUM_PROBES = 16
"""For the trace: its standard error is then known to within 18 % (1 / sqrt(2 (n - 1)))."""

_MOST_STARTS, _MOST_STEPS = 100, 1000


@dataclass(frozen=True)
class Options:
    """How exactly a spectrum is measured.

    Args:
        checkpoint: ``newest``, ``best`` or a name; None: the newest.
        samples: Of the training set; None: as many as the run measures its curvature on.
        starts: Random vectors, whose spread is the error of the density.
        steps: Products for each: the resolution.
    """

    checkpoint: str | None = None
    samples: int | None = None
    starts: int = 3
    steps: int = 40

    @property
    def num_products(self) -> int:
        """Hessian-vector products in all, at most."""
        return self.starts * self.steps + NUM_PROBES


def check(options: Options) -> None:
    """Refuse numbers that make no sense.

    Raises:
        ConfigError: One message for all of them.
    """
    allowed = {
        "--samples": (
            options.samples,
            options.samples is None or options.samples >= 1,
            "1 or more",
        ),
        "--starts": (options.starts, 1 <= options.starts <= _MOST_STARTS, f"1 to {_MOST_STARTS}"),
        "--steps": (options.steps, 1 <= options.steps <= _MOST_STEPS, f"1 to {_MOST_STEPS}"),
    }
    wrong = [
        f"{name} is {value}; it must be {what}"
        for name, (value, fits, what) in allowed.items()
        if not fits
    ]
    if len(wrong) == 1:
        raise ConfigError(wrong[0])
    if wrong:
        raise ConfigError("\n".join([f"{len(wrong)} wrong options", *(f"- {w}" for w in wrong)]))

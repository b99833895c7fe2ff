"""What a user may say about a plan."""

from dataclasses import dataclass

from absa.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """How far to look, and what a worker has to bring.

    Args:
        overrides: Of the job, each ``a.b=value``.
        workers: Most workers to look at; None: ``workers.max``, and twice as many as were measured.
        floor: What each further worker must add, as a share of the goodput of one, in (0, 1].

    Raises:
        ConfigError: A number makes no sense.
    """

    overrides: tuple[str, ...] = ()
    workers: int | None = None
    floor: float = 0.5

    def __post_init__(self) -> None:
        if self.workers is not None and not 1 <= self.workers <= _MOST:
            raise ConfigError(f"--workers is {self.workers}; it must be 1 to {_MOST}")
        if not 0 < self.floor <= 1:
            raise ConfigError(f"--floor is {self.floor}; it must be above 0 and at most 1")


_MOST = 4096

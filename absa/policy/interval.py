"""A number that is not known exactly."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A value with the ends between which the truth lies with the stated confidence.

    Args:
        lower: At most ``value``.
        value: The best guess; half of what is likely lies above it.
        upper: At least ``value``; may be inf.
    """

    lower: float
    value: float
    upper: float

    def scaled(self, factor: float) -> "Interval":
        """Return it in other units.

        Args:
            factor: What all three numbers are multiplied with, > 0.
        """
        return Interval(self.lower * factor, self.value * factor, self.upper * factor)

    def inverse(self, numerator: float = 1.0) -> "Interval":
        """Return ``numerator`` divided by it, as seconds become a rate.

        Args:
            numerator: Above 0; all three numbers are above 0 as well.
        """
        return Interval(numerator / self.upper, numerator / self.value, numerator / self.lower)

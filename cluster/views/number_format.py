"""How numbers look, in the terminal and in the report alike."""

MISSING = "-"
"""Stands where there is no number."""

_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def significant(value: float | None, digits: int) -> str:
    """Return a number with so many significant digits: ``0.0421``, ``2.303``, ``1.23e-5``."""
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    power = int(exponent)
    if -4 <= power < digits + 2:
        return f"{float(f'{value:.{digits - 1}e}'):.{max(0, digits - 1 - power)}f}"
    return f"{mantissa}e{power}"


def loss(value: float | None) -> str:
    """Return a loss with four significant digits."""
    return significant(value, 4)


def learning_rate(value: float | None) -> str:
    """Return a learning rate with three significant digits."""
    return significant(value, 3)


def count(value: float | None) -> str:
    """Return a whole number with its thousands apart: ``86,220``."""
    return MISSING if value is None else f"{round(value):,}"


def si(value: float | None, unit: str = "") -> str:
    """Return a number with three digits and its SI prefix: ``12.4k``, ``1.30 MB`` with a unit."""
    if value is None:
        return MISSING
    space = " " if unit else ""
    for size, prefix in _SI:
        if abs(value) >= size * 0.9995:
            return f"{_three_digits(value / size)}{space}{prefix}{unit}"
    whole = abs(value) >= 99.95 or value == round(value)
    return f"{value:.0f}{space}{unit}" if whole else f"{_three_digits(value)}{space}{unit}"


def _three_digits(value: float) -> str:
    size = abs(value)
    return f"{value:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}"


def percent(value: float | None, decimals: int = 2) -> str:
    """Return a fraction as a percentage: ``98.61 %``."""
    return MISSING if value is None else f"{100 * value:.{decimals}f} %"


def metric(name: str, value: float | None) -> str:
    """Return a metric: accuracies as percentages, everything else with four digits."""
    return percent(value) if is_fraction(name) else significant(value, 4)


def is_fraction(name: str) -> bool:
    """Return whether a metric of this name is a fraction of one."""
    return "accuracy" in name.lower()


def noise_scale(value: float | None, at_least: float | None) -> str:
    """Return a noise scale in samples, to two digits: ``740``, or ``>950`` for a bound."""
    if value is None and at_least:
        return f">{si(float(f'{at_least:.2g}'))}"
    return MISSING if value is None else si(float(f"{value:.2g}"))


def epoch(value: float | None) -> str:
    """Return an epoch with one decimal: ``37.2``."""
    return MISSING if value is None else f"{value:.1f}"


def total_epochs(value: float | None) -> str:
    """Return how many epochs there are in all: ``60``, ``2.5``."""
    return MISSING if value is None else f"{value:.1f}".removesuffix(".0")


def clock(seconds: float | None) -> str:
    """Return a duration as a clock shows it: ``0:07``, ``1:02:03``, ``3d 04:05:06``."""
    if seconds is None:
        return MISSING
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def duration(seconds: float | None) -> str:
    """Return a duration in words: ``35 ms``, ``4.2 s``, ``4 min 05 s``, ``2 h 03 min``."""
    if seconds is None:
        return MISSING
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, second = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {second:02} s"
    hours, minute = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minute:02} min"
    days, hour = divmod(round(seconds / 3600), 24)
    return f"{days} d {hour:02} h"

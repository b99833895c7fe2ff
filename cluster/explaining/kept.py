"""Many reasons to keep everything, as few: those that differ in their numbers alone become one."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
# A number within a word, such as "top2", is none.
_SPAN = re.compile(rf"(?<![\w.])({_NUMBER})(?: to ({_NUMBER}))?(?![\w]|\.\d)")


@dataclass(frozen=True)
class Reason:
    """Why something was kept.

    Args:
        text: With each number as the range that it ran through.
        count: How often.
    """

    text: str
    count: int


def summarised(texts: Iterable[str]) -> list[Reason]:
    """Return reasons that differ in their numbers alone as one, the most frequent first.

    ``4 to 7 was seen`` and ``5 to 9 was seen`` become ``4 to 9 was seen``.

    Args:
        texts: In order.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for text in texts:
        groups.setdefault(_without_numbers(text), []).append(text)
    reasons = [Reason(_merged(group), len(group)) for group in groups.values()]
    return sorted(reasons, key=lambda reason: -reason.count)


def _without_numbers(text: str) -> tuple[str, ...]:
    """Return what stands before, between and after the numbers."""
    ends = [0, *(end for m in _SPAN.finditer(text) for end in m.span()), len(text)]
    return tuple(text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True))


def _merged(texts: list[str]) -> str:
    spans = [[(m[1], m[2] or m[1]) for m in _SPAN.finditer(text)] for text in texts]
    ranges: Iterator[str] = map(_range, zip(*spans, strict=True))
    return _SPAN.sub(lambda _: next(ranges), texts[-1])


def _range(spans: tuple[tuple[str, str], ...]) -> str:
    low = min((span[0] for span in spans), key=float)
    high = max((span[1] for span in spans), key=float)
    return low if float(low) == float(high) else f"{low} to {high}"

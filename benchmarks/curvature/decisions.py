"""The rule that the signal is for, and how often a method's answers differ from the truth's."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import accumulate
from typing import Self

ASKED = "ours, asked whether halved"
"""What a job decides by: our tracker, asked the policy's question."""

FACTOR = 2.0
"""Of ABS (arXiv:1810.01021): the batch grows when the eigenvalue has halved."""


@dataclass(frozen=True)
class Agreement:
    """A method's decisions beside those of the exact values.

    Args:
        points: How many decisions.
        agree: Points at which both say the same.
        early: Points at which the method's rule has fallen more often by then than the truth has:
            the batch would be too large there.
        true_falls: How many there are.
        found: How many of them the method reaches by the end.
        delay: Points between a fall and the method's fall of the same number, sum over those that
            it reaches; negative: too early.
    """

    points: int
    agree: int
    early: int
    true_falls: int
    found: int
    delay: int

    def __add__(self, other: Self) -> "Agreement":
        """Return both together."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Agreement(*(mine + theirs for mine, theirs in pairs))


def falls(values: Sequence[float], factor: float = FACTOR) -> list[bool]:
    """Return at which points a sequence has fallen by a factor since the last such point.

    Args:
        values: Positive at first; the first one is the first reference.
        factor: Above 1.
    """
    reference, found = values[0], []
    for value in values:
        found.append(value <= reference / factor)
        if found[-1]:
            reference = value
    return found


def agreement(method: Sequence[bool], truth: Sequence[bool]) -> Agreement:
    """Compare two sequences of decisions about the same points."""
    counts = list(zip(accumulate(method), accumulate(truth), strict=True))
    mine, theirs = ([i for i, fell in enumerate(each) if fell] for each in (method, truth))
    delays = [m - t for m, t in zip(mine, theirs, strict=False)]
    return Agreement(
        points=len(truth),
        agree=sum(m == t for m, t in zip(method, truth, strict=True)),
        early=sum(m > t for m, t in counts),
        true_falls=len(theirs),
        found=len(delays),
        delay=sum(delays),
    )

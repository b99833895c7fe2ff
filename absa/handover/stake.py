"""What a rank brings to a hand-over, and where it receives what it lacks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor

from absa.errors import ResizeError
from absa.handover.layout import Form, Layout, describe
from absa.handover.wire import Wire
from absa.state import Kind, StateTree

Places = Callable[[Layout], Mapping[str, Tensor]]
"""The source's layout -> tensors to receive into, by name; one that is not named is made.

It raises an `AbsaError` to refuse: the layout is not that of this rank's job.
"""


class Code(IntEnum):
    """What a rank tells the others of itself."""

    NEW = 1
    BEHIND = 2
    CURRENT = 3
    REFUSES = 4


def all_anew(layout: Layout) -> Mapping[str, Tensor]:
    """Let every tensor be made anew: what a rank has stays as it is."""
    return {}


@dataclass(frozen=True)
class Stake:
    """What a rank brings to a hand-over.

    Args:
        held: The state it has, or None if it is new. Its tensors are only read.
        current: Whether that is the same update of the same history as the source's.
        places: Where a rank without the current state receives. Tensors named here are
            overwritten, and are of no use if the hand-over fails.
    """

    held: StateTree | None = None
    current: bool = False
    places: Places = all_anew

    @property
    def code(self) -> Code:
        """What the others are told, unless the rank refuses."""
        if self.held is None:
            return Code.NEW
        return Code.CURRENT if self.current else Code.BEHIND


def make_room(stake: Stake, layout: Layout, wire: Wire) -> dict[str, Tensor]:
    """Return the tensors that a rank receives into, by name.

    Args:
        stake: What the rank brings.
        layout: The source's.
        wire: Gives the device of tensors that do not belong on the host.

    Raises:
        ResizeError: What the rank has is not like the source's.
        AbsaError: ``places`` refused.
    """
    held = stake.held
    if held is not None:
        _compare(held, layout, stake.code)
    if stake.code == Code.CURRENT:
        return {}
    kinds: tuple[Kind, ...] = ("replicated", "per_rank") if held is None else ("replicated",)
    given = stake.places(layout)
    room = {}
    for kind in kinds:
        for name, form in layout.of_kind(kind).items():
            place = given.get(name)
            if place is None:
                place = form.empty(wire.place(on_host=form.on_host))
            elif not form.fits(place):
                raise _differs([name], str(form), f"{place.dtype} of shape {tuple(place.shape)}")
            room[name] = place
    return room


def _compare(held: StateTree, layout: Layout, code: Code) -> None:
    """Refuse a state that is not the source's; one that is behind may lack some of its tensors."""
    mine, theirs = describe(held).of_kind("replicated"), layout.of_kind("replicated")
    names = mine.keys() | theirs.keys() if code == Code.CURRENT else mine.keys() & theirs.keys()
    wrong = sorted(name for name in names if not _alike(mine.get(name), theirs.get(name)))
    if wrong:
        first = wrong[0]
        raise _differs(wrong, str(theirs.get(first, "missing")), str(mine.get(first, "missing")))


def _alike(a: Form | None, b: Form | None) -> bool:
    return a is not None and b is not None and (a.dtype, a.shape) == (b.dtype, b.shape)


def _differs(names: list[str], theirs: str, mine: str) -> ResizeError:
    return ResizeError(
        f"the source's state is another model's: {len(names)} tensors differ, first {names[0]!r}: "
        f"{theirs} there, {mine} here; every worker must run the same job"
    )

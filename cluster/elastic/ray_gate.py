"""Whether this Ray is one inside which workers can join and leave.

What `cluster.elastic.raytrain` needs of Ray Train is private, so that any release may change it.
Where it is not exactly as expected a run changes its workers by a restart, which needs nothing
private.
"""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

KNOWN_RELEASE = "2.60"
"""Whose private members are known; a patch release should not change them, and is checked."""

SETS = "sets"

Private = tuple[Any, str, str]
"""What is needed of Ray: an owner, a member of it, and the names of its parameters.

With `SETS` instead of a member, the owner is a function and the names are attributes that it sets.
"""


def supported() -> str | None:
    """Return None if workers can join and leave inside this Ray, else why not."""
    import ray

    if not f"{ray.__version__}.".startswith(f"{KNOWN_RELEASE}."):
        return (
            f"this is Ray {ray.__version__}, and joining and leaving is only known to work with "
            f"Ray {KNOWN_RELEASE}"
        )
    try:
        from cluster.elastic.raytrain import PRIVATE
    except ImportError as error:
        return f"Ray {ray.__version__} has changed inside: {error}"
    found = next(changed(PRIVATE), None)
    return found and f"Ray {ray.__version__} has changed inside: {found}"


def changed(members: Iterable[Private]) -> Iterator[str]:
    """Say which private members are not as expected.

    Args:
        members: What is expected.
    """
    for owner, name, names in members:
        if name == SETS:
            known = owner.__code__.co_names
            yield from (
                f"{owner.__qualname__} sets no {each}"
                for each in names.split()
                if each not in known
            )
            continue
        where = f"{owner.__name__.rpartition('.')[2]}.{name}"
        member = inspect.getattr_static(owner, name, None)
        if member is None and name not in getattr(owner, "__annotations__", {}):
            yield f"there is no {where}"
        elif (actual := _parameters(getattr(owner, name, None))) != names:
            yield f"{where} takes ({actual}), not ({names})"


def _parameters(member: Any) -> str:
    return " ".join(inspect.signature(member).parameters) if callable(member) else ""

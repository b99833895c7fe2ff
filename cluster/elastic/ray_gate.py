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

Private = tuple[Any, str, tuple[str, ...]]
"""An object, what is needed of it, and names.

The names are the parameters of a function or class; with "attributes" instead of a name: what the
constructor of the class sets.
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
        where = f"{getattr(owner, '__name__', owner)}.{name}"
        if name == "attributes":
            set_there = owner.__init__.__code__.co_names
            yield from (
                f"{owner.__name__} sets no {each}" for each in names if each not in set_there
            )
        elif not hasattr(owner, name):
            yield f"there is no {where}"
        elif (actual := _parameters(getattr(owner, name))) != names:
            yield f"{where} takes ({', '.join(actual)}), not ({', '.join(names)})"


def _parameters(member: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(member).parameters) if callable(member) else ()

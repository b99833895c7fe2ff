"""The controller's actor, called as if it were an object of this process."""

from collections.abc import Callable
from typing import Any, cast

from cluster.controller import Controller


def controller_handle(actor: Any) -> Controller:
    """Return what has the controller's methods and calls those of the actor; each waits.

    Args:
        actor: `Controller` as a Ray actor.
    """
    return cast(Controller, _Remote(actor))


class _Remote:
    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Callable[..., Any]:
        import ray

        method = getattr(self._actor, name)
        return lambda *arguments: ray.get(method.remote(*arguments))

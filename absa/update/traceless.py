"""Passes that are no part of an update and leave nothing of themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

from absa.update.replica import Replica


@contextmanager
def traceless(replica: Replica) -> Iterator[None]:
    """Undo what passes inside the block do to gradients, statistics and buffers.

    Only between updates: there are no gradients then, and no statistics are pending. Random streams
    need no care, for every pass keys them anew.

    Args:
        replica: Its model is trained on inside the block.
    """
    # A model of the user's may write to its buffers, or put other tensors into their places.
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in replica.model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        replica.statistics.discard()
        for parameter in replica.parameters:
            parameter.grad = None
        for module, name, buffer, before in buffers:
            buffer.copy_(before)
            setattr(module, name, buffer)

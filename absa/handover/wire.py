"""The group that a state moves in, and the memory it sends from."""

from dataclasses import dataclass

import torch

from absa.collective import Collective

HOST = torch.device("cpu")


@dataclass(frozen=True)
class Wire:
    """What messages travel over.

    Args:
        collective: The ranks of the new group.
        device: What it sends from and receives into; NCCL knows GPU memory only.
    """

    collective: Collective
    device: torch.device = HOST

    @property
    def rank(self) -> int:
        """This rank."""
        return self.collective.rank

    @property
    def world_size(self) -> int:
        """The number of ranks."""
        return self.collective.world_size

    def place(self, *, on_host: bool) -> torch.device:
        """Return where a tensor is made that the source has on the host, or on its device."""
        return HOST if on_host else self.device

"""The group that a state moves in, and the memory it sends from."""

from dataclasses import dataclass

import torch

from absa.collective import Collective
from absa.handover.parcels import DEFAULT_SIZES, Sizes

HOST = torch.device("cpu")


@dataclass(frozen=True)
class Wire:
    """What messages travel over.

    Args:
        collective: The ranks of the new group.
        device: What it sends from and receives into: gloo sends from the memory of the host
            only, NCCL from that of a GPU only. State on another device passes through it.
        sizes: How tensors are cut.
    """

    collective: Collective
    device: torch.device = HOST
    sizes: Sizes = DEFAULT_SIZES

    @property
    def rank(self) -> int:
        """This rank."""
        return self.collective.rank

    @property
    def world_size(self) -> int:
        """The number of ranks."""
        return self.collective.world_size

    def place(self, *, on_host: bool) -> torch.device:
        """Return where a tensor is made for one that the source has on the host, or on a device."""
        return HOST if on_host else self.device

"""Ranks of different processors round differently: rank 0's numbers are what all go on with."""

import numpy as np
import torch

from absa.collective import Collective
from absa.curvature.band_lanczos import Agree, Numbers, alone


def first_rank(collective: Collective, device: torch.device) -> Agree:
    """Return a function that replaces numbers by those of rank 0.

    Args:
        collective: The ranks; each calls it as often as the others.
        device: Where the collective's tensors lie.
    """
    if collective.world_size == 1:
        return alone

    def agree(numbers: Numbers) -> Numbers:
        message = torch.from_numpy(np.ascontiguousarray(numbers)).to(device)
        collective.broadcast([message], source=0)
        return message.cpu().numpy()

    return agree

"""Which normalisation stands in the built-in networks."""

from typing import Literal

from torch import nn

Norm = Literal["batch", "group"]

CHANNELS_PER_GROUP = 16
"""Wu and He 2018, arXiv:1803.08494, section 4.1: a fixed number of channels per group does as well
as a fixed number of groups, which narrow networks do not have the channels for."""


def norm_2d(norm: Norm, channels: int) -> nn.Module:
    """Return a normalisation of (N, ``channels``, H, W)."""
    return nn.BatchNorm2d(channels) if norm == "batch" else group_norm(channels)


def norm_1d(norm: Norm, channels: int) -> nn.Module:
    """Return a normalisation of (N, ``channels``)."""
    return nn.BatchNorm1d(channels) if norm == "batch" else group_norm(channels)


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a group-norm of at least 16 channels per group, or of all channels if there are fewer.

    Its groups are of channels within one sample and have nothing to do with ``bn_group``.
    """
    sizes = range(min(CHANNELS_PER_GROUP, channels), channels + 1)
    size = next(size for size in sizes if channels % size == 0)
    return nn.GroupNorm(channels // size, channels)

"""The ``model`` section of a job, read by the built-in image classification task."""

from typing import Any, Literal

from pydantic import Field

from absa.config import Section


class ModelConfig(Section):
    """A built-in network, or any callable of the user that returns a module."""

    name: str = "small_cnn"
    """small_cnn, mlp, resnet20, resnet18, resnet50, or ``package.module:callable``."""
    norm: Literal["batch", "group"] | None = None
    """Normalisation of a built-in network; default: batch-norm, and none in an mlp."""
    zero_gamma: bool = False
    """Start the last normalisation of each residual block at zero (Goyal et al. 2017, 5.1)."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the network, checked against its signature."""

"""The residual networks for 32x32 images of He et al. 2016, section 4.2."""

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from absa.models.initialisation import initialise, zero_scales
from absa.models.normalisation import Norm, norm_2d


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters.

    The shortcut is the paper's option A: where the block halves the image and adds channels, it
    takes every second pixel and fills the new channels with zeros.
    """

    def __init__(self, channels: int, out: int, *, norm: Norm) -> None:
        super().__init__()
        self.stride = 1 if channels == out else 2
        self.new_channels = out - channels
        self.conv1 = nn.Conv2d(channels, out, 3, stride=self.stride, padding=1, bias=False)
        self.norm1 = norm_2d(norm, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = norm_2d(norm, out)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n out h2 w2"]:
        """Return relu(residual + shortcut)."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        if self.new_channels:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(y + x, inplace=True)


def resnet20(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    norm: Norm = "batch",
    zero_gamma: bool = False,
    width: Annotated[int, Field(gt=0)] = 16,
) -> nn.Sequential:
    """Return ResNet-20: a convolution, three stages of three blocks, average, classifier.

    269,722 parameters for three channels and ten classes (the paper: 0.27 M).

    Args:
        image_shape: Channels, height, width.
        num_classes: Outputs, the logits.
        norm: batch or group.
        zero_gamma: Start the last normalisation of each block at zero.
        width: Channels of the first stage, > 0; the others have 2 and 4 times as many.

    Source: He et al. 2016, arXiv:1512.03385, section 4.2 (shortcuts of option A).
    """
    stem = nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False)
    blocks: list[Block] = []
    channels = width
    for out in (width, 2 * width, 4 * width):
        for _ in range(3):
            blocks.append(Block(channels, out, norm=norm))
            channels = out
    last = nn.Linear(channels, num_classes)
    model = nn.Sequential(
        stem,
        norm_2d(norm, width),
        nn.ReLU(inplace=True),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        last,
    )
    initialise(model, last)
    if zero_gamma:
        zero_scales(block.norm2 for block in blocks)
    return model

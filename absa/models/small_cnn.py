"""A small convolutional network for small images."""

from typing import Annotated

from pydantic import Field
from torch import nn

from absa.models.initialisation import initialise
from absa.models.normalisation import Norm, norm_2d


def small_cnn(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    norm: Norm = "batch",
    width: Annotated[int, Field(gt=0)] = 32,
) -> nn.Sequential:
    """Return 3x3 convolutions of 1, 2 and 4 times ``width`` channels and a classifier.

    Each is followed by normalisation and ReLU, the first two also by 2x2 max-pooling. What is left
    is averaged to 2x2, so images of any size from 8x8 up do. Parameters with batch-norm:
    ``9 w (c + 10 w) + 14 w + (16 w + 1) k``, w the width, c the image's channels, k the classes.

    Args:
        image_shape: Channels, height, width; both at least 8.
        num_classes: Outputs, the logits.
        norm: batch or group.
        width: Channels of the first convolution, > 0.
    """
    widths = (width, 2 * width, 4 * width)
    layers: list[nn.Module] = []
    channels = image_shape[0]
    for index, out in enumerate(widths):
        conv = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        layers += [conv, norm_2d(norm, out), nn.ReLU(inplace=True)]
        if index < 2:
            layers.append(nn.MaxPool2d(2))
        channels = out
    last = nn.Linear(4 * channels, num_classes)
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), last)
    initialise(model, last)
    return model

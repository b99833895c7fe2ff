"""A multi-layer perceptron."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import nn

from absa.models.initialisation import initialise
from absa.models.normalisation import Norm, norm_1d


def mlp(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    norm: Norm | None = None,
    hidden: Sequence[Annotated[int, Field(gt=0)]] = (256, 128),
) -> nn.Sequential:
    """Return linear layers with ReLU between them; for 28x28 pixels 784-256-128-10.

    Args:
        image_shape: Channels, height, width; flattened.
        num_classes: Outputs, the logits.
        norm: After each hidden layer batch-norm, group-norm or, by default, none.
        hidden: Features of the hidden layers, each > 0; none: a linear model.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    features = image_shape[0] * image_shape[1] * image_shape[2]
    for out in hidden:
        layers.append(nn.Linear(features, out, bias=norm is None))
        if norm is not None:
            layers.append(norm_1d(norm, out))
        layers.append(nn.ReLU(inplace=True))
        features = out
    last = nn.Linear(features, num_classes)
    model = nn.Sequential(*layers, last)
    initialise(model, last)
    return model

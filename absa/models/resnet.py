"""ResNet-18 and ResNet-50, with the parameter names of torchvision so that weights can move."""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from absa.models.initialisation import initialise, zero_scales
from absa.models.normalisation import Norm, norm_2d

Stem = Literal["imagenet", "cifar"]

LARGEST_CIFAR_SIDE = 64
"""The ImageNet stem and the stages shrink an image by 32: of 64 pixels they leave 2, less than the
3x3 kernels of the last stage."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (ResNet-18)."""

    expansion = 1

    def __init__(self, channels: int, planes: int, *, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels, planes, stride)
        self.bn1 = norm_2d(norm, planes)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = norm_2d(norm, planes)
        self.downsample = _shortcut(channels, planes, stride, norm)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n out h2 w2"]:
        """Return relu(residual + shortcut)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + _through(self.downsample, x), inplace=True)

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation before the sum."""
        return self.bn2


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions (ResNet-50).

    The 3x3 convolution takes the stride, as in torchvision and Goyal et al.; in the paper it is
    the first 1x1.
    """

    expansion = 4

    def __init__(self, channels: int, planes: int, *, stride: int, norm: Norm) -> None:
        super().__init__()
        out = planes * self.expansion
        self.conv1 = _conv1x1(channels, planes)
        self.bn1 = norm_2d(norm, planes)
        self.conv2 = _conv3x3(planes, planes, stride)
        self.bn2 = norm_2d(norm, planes)
        self.conv3 = _conv1x1(planes, out)
        self.bn3 = norm_2d(norm, out)
        self.downsample = _shortcut(channels, out, stride, norm)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n out h2 w2"]:
        """Return relu(residual + shortcut)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + _through(self.downsample, x), inplace=True)

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation before the sum."""
        return self.bn3


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, average, classifier."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        *,
        channels: int,
        num_classes: int,
        stem: Stem,
        norm: Norm,
    ) -> None:
        super().__init__()
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = _conv3x3(channels, 64)
            self.maxpool = nn.Identity()
        self.bn1 = norm_2d(norm, 64)
        e = block.expansion
        self.layer1 = _stage(block, 64, 64, depths[0], stride=1, norm=norm)
        self.layer2 = _stage(block, 64 * e, 128, depths[1], stride=2, norm=norm)
        self.layer3 = _stage(block, 128 * e, 256, depths[2], stride=2, norm=norm)
        self.layer4 = _stage(block, 256 * e, 512, depths[3], stride=2, norm=norm)
        self.fc = nn.Linear(512 * e, num_classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Return the logits."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def resnet18(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    norm: Norm = "batch",
    zero_gamma: bool = False,
    stem: Stem | None = None,
) -> ResNet:
    """Return ResNet-18.

    Parameters: 11,689,512 with the ImageNet stem and 1000 classes, 11,173,962 with the CIFAR stem
    and 10.

    Args:
        image_shape: Channels, height, width.
        num_classes: Outputs, the logits.
        norm: batch or group.
        zero_gamma: Start the last normalisation of each block at zero.
        stem: ``imagenet``, a 7x7 convolution of stride 2 and max-pooling, or ``cifar``, a 3x3
            convolution that keeps the size. Default: cifar up to 64 pixels a side.

    Source: He et al. 2016, arXiv:1512.03385, table 1.
    """
    model = ResNet(
        BasicBlock,
        (2, 2, 2, 2),
        channels=image_shape[0],
        num_classes=num_classes,
        stem=stem or _default_stem(image_shape),
        norm=norm,
    )
    _start(model, zero_gamma=zero_gamma)
    return model


def resnet50(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    norm: Norm = "batch",
    zero_gamma: bool = False,
    stem: Stem | None = None,
) -> ResNet:
    """Return ResNet-50; arguments as for `resnet18`.

    Parameters: 25,557,032 with the ImageNet stem and 1000 classes, 23,520,842 with the CIFAR stem
    and 10.

    Source: He et al. 2016, arXiv:1512.03385, table 1.
    """
    model = ResNet(
        Bottleneck,
        (3, 4, 6, 3),
        channels=image_shape[0],
        num_classes=num_classes,
        stem=stem or _default_stem(image_shape),
        norm=norm,
    )
    _start(model, zero_gamma=zero_gamma)
    return model


def _default_stem(image_shape: tuple[int, int, int]) -> Stem:
    return "cifar" if max(image_shape[1:]) <= LARGEST_CIFAR_SIDE else "imagenet"


def _start(model: ResNet, *, zero_gamma: bool) -> None:
    initialise(model, model.fc)
    if zero_gamma:
        blocks = (m for m in model.modules() if isinstance(m, BasicBlock | Bottleneck))
        zero_scales(block.last_norm for block in blocks)


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    channels: int,
    planes: int,
    depth: int,
    *,
    stride: int,
    norm: Norm,
) -> nn.Sequential:
    blocks = [block(channels, planes, stride=stride, norm=norm)]
    for _ in range(depth - 1):
        blocks.append(block(planes * block.expansion, planes, stride=1, norm=norm))
    return nn.Sequential(*blocks)


def _shortcut(channels: int, out: int, stride: int, norm: Norm) -> nn.Sequential | None:
    """Return a projection (option B of the paper) where the shape changes, else None."""
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(_conv1x1(channels, out, stride), norm_2d(norm, out))


def _through(shortcut: nn.Sequential | None, x: Tensor) -> Tensor:
    return x if shortcut is None else shortcut(x)


def _conv3x3(channels: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)


def _conv1x1(channels: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 1, stride=stride, bias=False)

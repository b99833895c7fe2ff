"""The weights a built-in network starts from."""

from collections.abc import Iterable

from torch import nn


def initialise(model: nn.Module, last: nn.Linear) -> None:
    """Draw the weights of convolutions and linear layers from torch's global random state.

    Convolutions: He's normal distribution by fan-out; linear layers: by fan-in; ``last``: standard
    deviation 0.01; biases zero. Normalisations keep torch's start: scale one, shift zero.

    Source: He et al. 2015, arXiv:1502.01852, section 2.2; Goyal et al. 2017, arXiv:1706.02677,
        section 5.1 (the last layer).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    nn.init.normal_(last.weight, std=0.01)


def zero_scales(norms: Iterable[nn.Module]) -> None:
    """Start the scale of ``norms`` at zero.

    On the last normalisation of each residual block: the blocks then start as the identity, which
    eases the start of training at large batches.

    Source: Goyal et al. 2017, arXiv:1706.02677, section 5.1.
    """
    for norm in norms:
        assert isinstance(norm, nn.BatchNorm2d | nn.GroupNorm)
        nn.init.zeros_(norm.weight)

"""The parameters that curvature is taken by."""

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from absa.errors import MeasurementError


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that curvature is taken by, each once.

    Raises:
        MeasurementError: There are none, they are of several or too small types or on several
            devices, or a wrapper that sums gradients itself is in the way.
    """
    for module in model.modules():
        if isinstance(module, DistributedDataParallel | DataParallel):
            raise MeasurementError(
                f"curvature got a model inside {type(module).__name__}, which sums gradients but "
                "not their derivatives; pass the bare model (wrapped.module) and the ranks as "
                "problem.collective"
            )
    parameters = [p for p in model.parameters() if p.requires_grad]
    kinds = sorted({f"{p.dtype} on {p.device}" for p in parameters})
    if len(kinds) != 1 or parameters[0].dtype not in (torch.float32, torch.float64):
        raise MeasurementError(
            f"the model's trainable parameters are {' and '.join(kinds) or 'none'}; curvature "
            "needs at least one, and all in float32 or all in float64 on one device. Measure a "
            "copy, copy.deepcopy(model).float(), or train with autocast, which keeps weights in "
            "float32"
        )
    return parameters

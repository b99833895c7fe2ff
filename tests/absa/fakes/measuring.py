"""What the loop's tests measure with: the real instruments, on few samples."""

import torch

from absa.curvature.hessian import Hessian
from absa.curvature.probe import VECTORS, CurvatureProbe, choose_samples
from absa.curvature.tracker import HessianTracker
from absa.instruments import NoiseMeter
from absa.noise_scale.average import NoiseWindow
from absa.update.replica import Replica

TOP = 2


def curvature(num_train: int, max_products: int = 12) -> CurvatureProbe:
    """Return what measures the two largest eigenvalues on 6 samples, 4 at a time."""
    tracker = HessianTracker(Hessian, top=TOP, max_products=max_products, seed=3)
    return CurvatureProbe(tracker, Hessian, choose_samples(3, num_train, 6), 4, seed=3)


def noise(num_train: int) -> NoiseMeter:
    """Return what averages over 40 samples."""
    return NoiseMeter(NoiseWindow(40, num_train), 0.9)


def room(replica: Replica) -> dict[str, torch.Tensor]:
    """Return room for the tracker's vectors."""
    dim = sum(parameter.numel() for parameter in replica.parameters)
    return {VECTORS: torch.zeros(TOP, dim, dtype=torch.bfloat16, device=replica.device)}

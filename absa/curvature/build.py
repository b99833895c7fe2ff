"""From the ``curvature`` section of a job to what a run measures with."""

from importlib.util import find_spec

import torch
from torch import Tensor

from absa.curvature.config import CurvatureConfig
from absa.curvature.forward_over_reverse import Execution, HessianForward
from absa.curvature.gauss_newton import GaussNewton
from absa.curvature.hessian import Hessian
from absa.curvature.probe import VECTORS, CurvatureProbe, MakeOperator, Tracker, choose_samples
from absa.curvature.pyhessian import PyHessianTracker
from absa.curvature.tracker import HessianTracker
from absa.errors import ConfigError
from absa.update.replica import Replica


def build_probe(
    config: CurvatureConfig, seed: int, num_train: int, device: torch.device, micro_batch: int
) -> CurvatureProbe | None:
    """Return how a run measures its curvature, or None if it does not.

    Args:
        config: The job's.
        seed: The run's.
        num_train: Size of the training set.
        device: Of the model.
        micro_batch: Most samples that go through the model at once in training.

    Raises:
        ConfigError: The backend is not installed.
    """
    if config.every_epochs is None:
        return None
    indices = choose_samples(seed, num_train, config.samples)
    operator = _operator(config, device)
    micro_batch = config.micro or micro_batch
    tracker = _tracker(config, seed, operator)
    return CurvatureProbe(tracker, operator, indices, micro_batch, seed)


def _tracker(config: CurvatureConfig, seed: int, operator: MakeOperator) -> Tracker:
    if config.backend == "pyhessian":
        if find_spec("pyhessian") is None:
            raise ConfigError(
                "curvature.backend is pyhessian, which is not installed: pip install pyhessian, or "
                "take lanczos"
            )
        return PyHessianTracker(config.top, config.max_products, config.tolerance)
    return HessianTracker(
        top=config.top,
        tolerance=config.tolerance,
        max_products=config.max_products,
        failure_probability=config.failure_probability,
        seed=seed,
        operator=operator,
    )


def _operator(config: CurvatureConfig, device: torch.device) -> MakeOperator:
    match config.operator:
        case "hessian":
            return Hessian
        case "gauss_newton":
            return GaussNewton
        case "hessian_forward":
            execution: Execution = "compiled" if device.type == "cuda" else "eager"
            return lambda problem: HessianForward(problem, execution)


def vectors_for(config: CurvatureConfig, replica: Replica) -> dict[str, Tensor]:
    """Return room for the vectors that the next measurement begins with.

    Args:
        config: The job's.
        replica: Whose curvature is measured.
    """
    if config.backend == "pyhessian":
        return {}
    num_parameters = sum(parameter.numel() for parameter in replica.parameters)
    vectors = torch.zeros(config.top, num_parameters, dtype=torch.bfloat16, device=replica.device)
    return {VECTORS: vectors}

"""Measure how the eigenvalues of the Hessian are distributed at a checkpoint."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from absa.collective import ALONE
from absa.curvature.build import build_probe
from absa.curvature.density import SpectralDensity, spectral_density
from absa.curvature.operator import CurvatureOperator
from absa.curvature.probe import CurvatureProbe, problem_of
from absa.curvature.trace import TraceEstimate, trace
from absa.curvature.trial import why_not
from absa.errors import CheckpointError, ConfigError, MeasurementError
from cluster.compose import model_key
from cluster.spectrum.options import NUM_PROBES, Options
from cluster.spectrum.restored import Restored
from cluster.views import number_format as show

_AT_ONCE = 128
"""Most samples through the model at once unless the job says ``curvature.micro``: the graph that is
kept of so many takes about 1 GB for a resnet20 on 32 x 32 images (measured: 7.6 MB a sample)."""


@dataclass(frozen=True)
class Spectrum:
    """What was measured.

    Args:
        density: Of the eigenvalues.
        trace: Their sum.
        num_samples: Samples of the loss.
        seconds: That it took.
    """

    density: SpectralDensity
    trace: TraceEstimate
    num_samples: int
    seconds: float

    @property
    def num_products(self) -> int:
        """Hessian-vector products that it took."""
        return self.density.num_products + self.trace.num_products


def measure(restored: Restored, options: Options, tell: Callable[[str], None]) -> Spectrum:
    """Measure the spectrum of a checkpoint.

    Args:
        restored: The checkpoint.
        options: How exactly.
        tell: Gets a sentence on the cost as soon as it can be said.

    Raises:
        ConfigError: The model's curvature cannot be measured.
        CheckpointError: A product with its Hessian is not finite.
    """
    probe = _probe(restored, options)
    reason = why_not(probe, restored.replica)
    if reason is not None:
        key = model_key(restored.job)
        raise ConfigError(
            f"{restored.job.place(key)}: {key}: the curvature of this model cannot be measured: "
            f"{reason}"
        )
    began = time.perf_counter()
    with probe.operator(problem_of(probe, restored.replica, ALONE)) as operator:
        watched, num_samples = _Watched(operator, options, tell), operator.num_samples
        try:
            found_trace = trace(watched, NUM_PROBES, seed=restored.job.seed)
            density = spectral_density(
                watched, options.starts, options.steps, seed=restored.job.seed
            )
        except MeasurementError as error:
            raise CheckpointError(
                f"checkpoint {restored.checkpoint}: {error}; give an older one with --checkpoint"
            ) from error
    return Spectrum(density, found_trace, num_samples, time.perf_counter() - began)


def _probe(restored: Restored, options: Options) -> CurvatureProbe:
    """Return what the run measures with, on as many samples as are asked for."""
    config, replica = restored.job.curvature, restored.replica
    samples = min(options.samples or config.samples, len(replica.train))
    changed = {
        "every_epochs": 1.0,
        "backend": "lanczos",
        "samples": samples,
        "micro": config.micro or min(samples, _AT_ONCE),
    }
    probe = build_probe(
        config.model_copy(update=changed),
        restored.job.seed,
        len(replica.train),
        replica.device,
        _AT_ONCE,
    )
    assert probe is not None
    return probe


class _Watched:
    """An operator that says after its second product what all of them will take.

    The first one may be slower: memory is new, kernels are chosen.
    """

    def __init__(
        self, operator: CurvatureOperator, options: Options, tell: Callable[[str], None]
    ) -> None:
        self.dim, self.dtype, self.device = operator.dim, operator.dtype, operator.device
        self._operator, self._options, self._tell = operator, options, tell
        self._num_done = 0

    def product(self, vector: Float[Tensor, " dim"]) -> Float[Tensor, " dim"]:
        """Return the matrix times ``vector``."""
        began = time.perf_counter()
        product = self._operator.product(vector)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._num_done += 1
        if self._num_done == 2:
            self._say(time.perf_counter() - began)
        return product

    def _say(self, seconds: float) -> None:
        num_products = self._options.num_products
        num_bytes = (self._options.steps + 2) * self.dim * self.dtype.itemsize
        self._tell(
            f"{show.count(num_products)} products with the Hessian of "
            f"{show.count(self._operator.num_samples)} samples: about "
            f"{show.duration(num_products * seconds)}, {show.si(num_bytes, 'B')} of vectors"
        )

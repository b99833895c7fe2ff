"""What a measured spectrum says, in numbers and words: for the page and the terminal alike."""

import math
from dataclasses import dataclass

from absa.curvature.density import RitzValue, SpectralDensity
from cluster.spectrum.measure import Spectrum
from cluster.views import number_format as show

NUM_LARGEST = 10
"""Eigenvalues that are told one by one: as many as CIFAR-10 has classes. In a trained classifier
about so many stand apart (Sagun et al. 2017, arXiv:1706.04454)."""

_MATRICES = {"gauss_newton": "Gauss-Newton matrix"}


@dataclass(frozen=True)
class Finding:
    """One number with its label and a remark."""

    label: str
    value: str
    remark: str


def matrix_name(operator: str) -> str:
    """Return what the operator of a job multiplies with."""
    return _MATRICES.get(operator, "Hessian")


def largest(spectrum: Spectrum) -> list[RitzValue]:
    """Return the largest eigenvalues that are told one by one, descending."""
    return spectrum.density.largest(NUM_LARGEST)


def findings(spectrum: Spectrum) -> list[Finding]:
    """Return the numbers that a reader wants first."""
    density, found = spectrum.density, spectrum.trace
    low, high = density.range
    width = density.bandwidth
    below, not_above = density.share_below(-width), density.share_below(width)
    apart = outliers(spectrum)
    return [
        Finding(
            "largest eigenvalue", number(high), f"{apart} apart from the rest" if apart else ""
        ),
        Finding("smallest eigenvalue", number(low), ""),
        Finding("trace", number(found.value), f"± {number(found.standard_error, 2)}"),
        _share("negative", below, density.dim, f"below {number(-width, 2)}"),
        Finding("near zero", _percent(not_above[0] - below[0]), f"within ± {number(width, 2)}"),
        _share(
            "positive", (1 - not_above[0], not_above[1]), density.dim, f"above {number(width, 2)}"
        ),
    ]


def outliers(spectrum: Spectrum) -> int:
    """Return how many eigenvalues above the bulk stand apart from it."""
    density = spectrum.density
    _, high = density.bulk
    return sum(each.value > high for each in density.largest(density.num_steps))


def single_height(density: SpectralDensity) -> float:
    """Return the peak of the density where a single eigenvalue stands alone."""
    return 1 / (density.dim * density.bandwidth * math.sqrt(2 * math.pi))


def told(spectrum: Spectrum, matrix: str) -> list[str]:
    """Return how the spectrum was measured and what it means, in paragraphs."""
    density = spectrum.density
    width, single = number(density.bandwidth, 2), number(single_height(density), 2)
    return [
        f"Eigenvalues of the {matrix} of the mean loss of {show.count(spectrum.num_samples)} fixed "
        f"training samples by all {show.count(density.dim)} trainable parameters, with batch-norm "
        f"in evaluation mode: {show.count(spectrum.num_products)} products in "
        f"{show.duration(spectrum.seconds)}.",
        f"The density is the mean of {len(density.rules)} random starts of {density.num_steps} "
        f"Lanczos steps, smoothed with Gaussians of width {width}, which so many steps integrate "
        f"to 1 %. An eigenvalue that stands alone is a bump of that width, {single} high in the "
        "mean but several times higher or lower by chance; below a tenth of that the curve is cut "
        "off. Within one width of zero nothing is said of the sign.",
        f"The trace is the mean of {spectrum.trace.num_products} random sign vectors. What follows "
        "± is one standard error, from the spread of the vectors or of the starts. Eigenvalues "
        "that are told one by one are lower bounds for those of their rank; some eigenvalue lies "
        "within the residual of each.",
    ]


def number(value: float, digits: int = 3) -> str:
    """Return a number as it is told."""
    return show.significant(value, digits) if math.isfinite(value) else show.MISSING


def _share(label: str, share: tuple[float, float], dim: int, where: str) -> Finding:
    value, error = share
    spread = "" if math.isnan(error) else f" ± {number(dim * error, 2)}"
    return Finding(label, _percent(value), f"{where}, about {show.count(dim * value)}{spread}")


def _percent(share: float) -> str:
    # A share of 1 that lacks a rounding error must not be 100.0000001 % or -1e-14 %.
    return f"{show.significant(max(0.0, min(1.0, round(share, 9))) * 100, 2)} %"

"""The ``curvature`` section of a job: how often and how exactly the Hessian is looked at."""

from typing import Literal

from pydantic import Field

from absa.config import Section


class CurvatureConfig(Section):
    """The largest eigenvalues of the Hessian of the loss on fixed training samples."""

    every_epochs: float | None = Field(1.0, gt=0)
    """Epochs between two measurements; None: curvature is not measured."""
    max_share: float = Field(0.01, gt=0, le=1)
    """Of the training time: after a measurement that took longer the next one comes later."""
    samples: int = Field(32, gt=0)
    """Training samples, chosen once, without augmentation. Few are enough to follow how the
    eigenvalue changes; it comes out larger than on all samples, by a factor that hardly changes."""
    micro: int | None = Field(None, gt=0)
    """Most of them at once through the model; default: ``batch.micro``. Where that is fewer than
    all, it takes less memory and more time."""
    top: int = Field(1, gt=0, le=16)
    """How many eigenvalues."""
    tolerance: float = Field(0.05, gt=0, lt=1)
    """Relative error of the largest at which a measurement may end."""
    failure_probability: float = Field(0.05, gt=0, lt=1)
    """Of the upper end of its interval."""
    max_products: int = Field(16, ge=2)
    """Hessian-vector products after which a measurement ends in any case; so many vectors of the
    size of all parameters are in memory at the end."""
    operator: Literal["hessian", "hessian_forward", "gauss_newton"] = "hessian"
    """hessian: reverse over reverse; hessian_forward: forward over reverse, compiled on a GPU;
    gauss_newton: without the curvature of the network itself, never negative."""
    backend: Literal["lanczos", "pyhessian"] = "lanczos"
    """lanczos: ours; pyhessian: that library's power iteration, to compare with."""

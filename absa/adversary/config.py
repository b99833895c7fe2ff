"""The ``adversary`` section of a job: how inputs are perturbed where a policy asks for it."""

from pydantic import Field

from absa.config import Section

DEFAULT_EPS = 0.005
"""As the authors of ABSA have it (HessianFlow, ``optm_utils.py``; pixels from 0 to 1)."""


class AdversaryConfig(Section):
    """The share of each batch that is perturbed is the policy's; this is by how much."""

    eps: float = Field(DEFAULT_EPS, gt=0, allow_inf_nan=False)
    """Largest change of an input, in the task's own unit; of images: pixels counted from 0 to 1."""

"""The ``elastic`` section of a job."""

from typing import Literal

from pydantic import Field

from absa.config import Section

Mode = Literal["in_place", "restart"]
"""How the number of workers changes.

in_place: workers join and leave while the others keep their state in memory. restart: the whole
group ends with a checkpoint and a new one goes on from there.
"""


class PlanStep(Section):
    """So many workers are wanted from an epoch on."""

    epochs: float = Field(ge=0, le=1e6)
    """Passes over the training data; the first step may come later than 0."""
    workers: int = Field(gt=0)
    """From ``workers.min`` to ``workers.max``."""


class ElasticConfig(Section):
    """How many workers are wanted when, and how they join and leave."""

    mode: Mode = "in_place"
    plan: tuple[PlanStep, ...] | None = None
    """Strictly ascending epochs; before the first step ``workers.min`` are wanted, so an empty
    plan means that number throughout. Default: ``workers.max`` as soon as training has begun. Once
    an operator has asked for a number (``absa scale``), theirs holds and the plan does not."""
    start_s: float = Field(300, gt=0)
    """How long newcomers may take, the arrival of their machines included, before the wish for
    them is given up and training stays as it is."""

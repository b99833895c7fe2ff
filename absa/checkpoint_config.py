"""The ``checkpoint`` section of a job."""

from pydantic import Field

from absa.config import Section


class CheckpointConfig(Section):
    """When the state is saved and how many copies are kept; the end of a run is always saved."""

    every_epochs: float | None = Field(None, gt=0)
    every_s: float | None = Field(30.0, gt=0)
    keep_last: int = Field(2, ge=1)
    keep_best: bool = True

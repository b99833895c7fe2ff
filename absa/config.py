"""The base of every configuration section; each section lives beside what it configures."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen part of the job that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

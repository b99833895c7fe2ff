"""The ``batch`` section of a job."""

from pydantic import Field

from absa.config import Section


class BatchConfig(Section):
    """How many samples an update takes, and how they go through the model."""

    initial: int = Field(64, gt=0)
    """Samples in one update, over all workers (``global_batch``)."""
    max: int | None = Field(None, gt=0)
    """The largest global batch; default: ``initial``."""
    micro: int | None = Field(None, gt=0)
    """Most samples that go through the model at once; a knob of speed and memory, never of the
    result. Default: ``initial``."""
    bn_group: int | None = Field(None, gt=0)
    """Samples over which batch-norm takes its statistics; default: the largest divisor of
    ``initial`` that leaves each of ``workers.min`` workers a group."""

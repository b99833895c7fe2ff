"""The ``noise_scale`` section of a job."""

from typing import Self

from pydantic import Field, model_validator

from absa.config import Section

DEFAULT_WINDOW_UPDATES = 200
"""With every update looked at, |G|^2 then has a standard error of 9 to 20 % at a sixth to a
sixteenth of the noise scale (784-64-10 on MNIST, batch 64 in 8 units, updates 100 to 900). That is
a quarter of an epoch there, in which the noise scale grows by about a third."""


class NoiseScaleConfig(Section):
    """How the gradient noise scale is measured."""

    every_updates: int | None = Field(12, gt=0)
    """At least one in so many updates has the norms of its parts taken; null: none, no signal.

    Where an update is one pass of a small network a look costs half an update (784-256-128-10,
    batch 128, one thread: 52 %), so one in 12 costs 4.3 %; elsewhere it costs next to nothing.
    Far below the noise scale 10 makes the variance of |G|^2 5 to 9 times that of 1 (on MNIST as
    above; 2: 1.4 to 1.8 times, 5: 2.6 to 4.4 times); far above it hardly changes it."""
    probe_every_updates: int | None = Field(125, gt=0)
    """The same where an update is a single batch-norm group and cannot be taken apart: then other
    samples are gone through beside it, which costs 1.04 to 1.12 updates. null: never."""
    window_epochs: float | None = Field(None, gt=0)
    """Over how many epochs norms are averaged (1/e of the weight is older)."""
    window_samples: int | None = Field(None, gt=0)
    """The same in samples. Default: 200 updates at ``batch.initial``."""
    confidence: float = Field(0.9, gt=0, lt=1)
    """With which the noise scale lies in its interval."""

    @model_validator(mode="after")
    def _one_window(self) -> Self:
        if self.window_epochs is not None and self.window_samples is not None:
            raise ValueError(
                f"window_epochs = {self.window_epochs:g} and window_samples = "
                f"{self.window_samples} say the same thing: set one of the two"
            )
        return self

    def window(self, num_train: int, initial_batch: int) -> float:
        """Return the window in samples.

        Args:
            num_train: Samples of an epoch, > 0.
            initial_batch: ``batch.initial``, > 0.
        """
        if self.window_epochs is not None:
            return self.window_epochs * num_train
        if self.window_samples is not None:
            return float(self.window_samples)
        return float(DEFAULT_WINDOW_UPDATES * initial_batch)

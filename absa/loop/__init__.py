"""The one training loop."""

from absa.loop.ending import Outcome
from absa.loop.loop import Loop, Next

__all__ = ["Loop", "Next", "Outcome"]

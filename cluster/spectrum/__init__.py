"""The spectrum of the Hessian at a checkpoint, measured, drawn and printed."""

from cluster.spectrum.draw import draw_on_terminal, draw_spectrum
from cluster.spectrum.options import Options

__all__ = ["Options", "draw_on_terminal", "draw_spectrum"]

"""Live views of a run: a block on a terminal, plain lines, or JSON for programs."""

from cluster.views.choose import make_view
from cluster.views.view import View

__all__ = ["View", "make_view"]

"""The state tree: everything that evolves, with the rule by which each part moves."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

Kind = Literal["replicated", "per_rank", "per_position"]
"""How a part is shared out: the same on every rank, one per rank, or keyed by sample position."""

Json = Any
"""None, bool, int, float, str, and lists and string-keyed dicts of these."""


@dataclass(frozen=True)
class StateTree:
    """A flat tree: names are paths such as ``model/conv1.weight``.

    Args:
        tensors: Tensors of any dtype and device.
        values: Plain values, written as JSON.
        kinds: The kind of every part whose first path element is a key here; others are replicated.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Json]
    kinds: Mapping[str, Kind] = field(default_factory=dict)

    def kind(self, name: str) -> Kind:
        """Return the kind of the part called ``name``."""
        return self.kinds.get(name.split("/", 1)[0], "replicated")


def clone_to_host(tree: StateTree) -> StateTree:
    """Return a copy on the host that later updates cannot change."""
    tensors = {name: t.detach().to("cpu", copy=True) for name, t in tree.tensors.items()}
    return StateTree(tensors, copy.deepcopy(dict(tree.values)), dict(tree.kinds))

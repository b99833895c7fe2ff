"""Groups of parameters that get a noise scale of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

from absa.errors import MeasurementError

MAX_GROUPS = 16
"""As many as a legend or a table of a chart still shows."""


@dataclass(frozen=True)
class Groups:
    """Which tensors of a model belong together.

    Args:
        names: Of the groups.
        members: For each tensor, in the order of the model's parameters, the number of its group.

    Raises:
        MeasurementError: A member has no name.
    """

    names: tuple[str, ...] = ()
    members: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if any(not 0 <= member < len(self.names) for member in self.members):
            raise MeasurementError(
                f"a tensor belongs to group {max(self.members)}, but there are names for "
                f"{len(self.names)} groups, counted from 0"
            )

    def sums(self, norms: Sequence[float]) -> list[float]:
        """Return the sum over all tensors, and then over those of each group.

        Raises:
            MeasurementError: There are groups, but for another number of tensors.
        """
        if not self.names:
            return [sum(norms)]
        if len(norms) != len(self.members):
            raise MeasurementError(
                f"norms of {len(norms)} tensors, but groups of {len(self.members)}; both must be "
                "of the same model's trainable parameters"
            )
        sums = [0.0] * len(self.names)
        for member, norm in zip(self.members, norms, strict=True):
            sums[member] += norm
        return [sum(norms), *sums]


def layer_groups(parameter_names: Sequence[str]) -> Groups:
    """Group parameters by the child of the model that they belong to.

    The group of ``layer1.0.conv1.weight`` is ``layer1``. What all names begin with (a wrapper's
    ``module.``) is left out first. If there are more than `MAX_GROUPS` children, neighbours share a
    group, as evenly as possible, and it is called ``first to last``.

    Args:
        parameter_names: Of the trainable parameters, as ``named_parameters`` gives them.
    """
    paths = [name.split(".") for name in parameter_names]
    while paths and all(len(path) > 1 and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]
    children = list(dict.fromkeys(path[0] for path in paths))
    num_groups = min(len(children), MAX_GROUPS)
    group_of = {child: i * num_groups // len(children) for i, child in enumerate(children)}
    names = []
    for group in range(num_groups):
        inside = [child for child in children if group_of[child] == group]
        names.append(inside[0] if len(inside) == 1 else f"{inside[0]} to {inside[-1]}")
    return Groups(tuple(names), tuple(group_of[path[0]] for path in paths))

"""Where worker processes run in Ray: bundles of placement groups.

The workers that a group starts with share one placement group, so that they come together or not
at all, and near one another. A newcomer takes the place of a worker that has ended, or gets a
placement group of its own: Ray cannot enlarge one.
"""

import contextlib
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import ray.util
from ray.util.placement_group import PlacementGroup, placement_group_table


@dataclass(frozen=True)
class Place:
    """Room for one worker.

    Args:
        group: The placement group.
        bundle: The index of the bundle in it.
        is_own: The group is for this worker alone.
    """

    group: PlacementGroup
    bundle: int
    is_own: bool


class Places:
    """The placement groups of one worker group.

    Args:
        prefix: Begins the name of each.
        bundle: Resources of a worker.
        strategy: Ray's placement strategy.
        labels: What the node of each worker must be labelled with, or None; those of the first
            hold for newcomers too.
    """

    def __init__(
        self,
        prefix: str,
        bundle: Mapping[str, float],
        strategy: str,
        labels: Sequence[Mapping[str, str]] | None,
    ) -> None:
        self._prefix, self._bundle, self._strategy, self._labels = prefix, bundle, strategy, labels
        self._shared: list[Place] = []

    def share(self, num_workers: int) -> list[Place]:
        """Ask for room for the workers that the group starts with."""
        group = self._ask(num_workers)
        self._shared = [Place(group, index, is_own=False) for index in range(num_workers)]
        return self._shared

    def take(self, used: Collection[Place]) -> Place:
        """Return room for a newcomer; Ray starts it there as soon as it is free.

        Args:
            used: The places of all workers that stay.
        """
        free = [place for place in self._shared if place not in used]
        return free[0] if free else Place(self._ask(1), 0, is_own=True)

    def _ask(self, num_bundles: int) -> PlacementGroup:
        labels = None if self._labels is None else [dict(each) for each in self._labels]
        return ray.util.placement_group(
            [dict(self._bundle)] * num_bundles,
            strategy=self._strategy,
            name=f"{self._prefix}{uuid.uuid4().hex}",
            bundle_label_selector=labels and labels[:num_bundles],
        )


def give_back(place: Place) -> None:
    """Return a worker's resources to the cluster, if nobody shares its placement group."""
    if place.is_own:
        ray.util.remove_placement_group(place.group)


def release_placement_groups(prefix: str) -> int:
    """Remove the placement groups whose name begins with ``prefix``, and whatever runs in them.

    Returns:
        How many there were.
    """
    names = [
        group["name"]
        for group in placement_group_table().values()
        if group["name"].startswith(prefix) and group["state"] != "REMOVED"
    ]
    for name in names:
        with contextlib.suppress(ValueError):  # gone in the meantime
            ray.util.remove_placement_group(ray.util.get_placement_group(name))
    return len(names)

"""What every schedule must keep, whatever goes wrong: the rules about updates."""

from dataclasses import dataclass, field

from cluster.elastic.protocol.member import Member

History = tuple[int, int]
"""Length and hash of the updates in a worker's weights."""


class RuleBrokenError(AssertionError):
    """A rule that every schedule must keep."""


@dataclass
class Rules:
    """What was applied by whom so far."""

    num_applied: int = 0
    first_update: dict[tuple[int, int], int] = field(default_factory=dict)
    canonical: dict[int, list[History]] = field(default_factory=dict)

    def begins(self, member: Member, history: History) -> None:
        """A generation begins with one state, and none of its members has applied more."""
        announcement, held, generation = member.announced, member.holding, member.generation
        assert announcement is not None
        same_lineage = held is not None and held.lineage == announcement.lineage
        if held is not None and same_lineage and held.update > history[0]:
            raise RuleBrokenError(
                f"generation {generation} begins at update {history[0]}, but worker "
                f"{member.worker}, a member, had applied {held.update}"
            )
        if self.canonical.setdefault(generation, [history])[0] != history:
            raise RuleBrokenError(f"generation {generation} begins with different states")

    def applies(self, lineage: int, generation: int, history: History) -> History:
        """Once a newer generation has applied an update, no older one applies it or a later one."""
        self.num_applied += 1
        mine, update = (lineage, generation), history[0]
        for (their_lineage, theirs), first in self.first_update.items():
            if (their_lineage, theirs) > mine and (their_lineage > lineage or update >= first):
                raise RuleBrokenError(
                    f"generation {generation} applied update {update} after generation {theirs} "
                    f"had applied update {first}"
                )
        self.first_update.setdefault(mine, update)
        history = (update + 1, hash((history[1], lineage, generation, update)))
        self._same(generation, history)
        return history

    def _same(self, generation: int, history: History) -> None:
        """All members of a generation apply the same updates, each once, in one order."""
        canonical = self.canonical[generation]
        index = history[0] - canonical[0][0]
        if index == len(canonical):
            canonical.append(history)
        elif not 0 < index < len(canonical) or canonical[index] != history:
            raise RuleBrokenError(f"members of generation {generation} have different histories")

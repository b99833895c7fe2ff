"""The tables: ours beside the peer and the floor, and what each stall consists of."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from benchmarks.measure import Aim, Row, quartiles
from benchmarks.resize_stall.cases import Change, Size
from benchmarks.resize_stall.floor import Floor, floor_s
from benchmarks.resize_stall.stall import Stall

SHORTER = {"1M": Aim("<=", 1 / 50), "11M": Aim("<=", 1 / 20)}
"""Of Ray Train's restart; issue 3."""

ABOVE_FLOOR = {"11M": Aim("<=", 2.0)}
"""Of the process group and the transfer, measured alone; issue 3."""


def compare_unpaired(
    case: str,
    metric: str,
    ours: Sequence[float],
    peer: Sequence[float],
    peer_name: str,
    aim: Aim | None = None,
) -> Row:
    """Return the row for two series that were not measured side by side.

    The ratio is that of the medians; its spread are the quartiles of each of ours over each of the
    peer's.

    Args:
        case: What was measured.
        metric: Name and unit of the numbers.
        ours: At least one number.
        peer: At least one number, > 0.
        peer_name: Who that is.
        aim: The bar for ours / peer.
    """
    low, _, high = quartiles([a / b for a, b in product(ours, peer)])
    middle, of_peer = statistics.median(ours), statistics.median(peer)
    ratio = middle / of_peer
    text = None if aim is None else f"{aim.sense} {aim.bound:g}"
    met = None if aim is None else aim.is_met(ratio)
    return Row(case, metric, middle, of_peer, peer_name, ratio, (low, high), text, met)


def rows(
    cases: Iterable[tuple[Size, Change]],
    ours: Sequence[Stall],
    peer: Sequence[Stall],
    peer_name: str,
    floors: Iterable[Floor],
) -> list[Row]:
    """Return the rows of the cases, each with at least one stall of both sides."""
    found, floors = [], list(floors)
    for size, change in cases:
        case, mine, theirs = case_name(size, change), *(_of(s, size, change) for s in (ours, peer))
        aim = SHORTER.get(size.name)
        seconds = [stall.seconds for stall in mine]
        found.append(
            compare_unpaired(
                case, "stall, s", seconds, [stall.seconds for stall in theirs], peer_name, aim
            )
        )
        floor = floor_s(change, size, floors)
        if floor > 0:
            bar = ABOVE_FLOOR.get(size.name) if change.after > change.before else None
            found.append(compare_unpaired(case, "stall, s", seconds, [floor], "floor", bar))
        lost = [stall.lost_worker_s for stall in mine]
        lost_too = [stall.lost_worker_s for stall in theirs]
        found.append(compare_unpaired(case, "lost worker-seconds", lost, lost_too, peer_name))
    return found


def case_name(size: Size, change: Change) -> str:
    """Return the name of a change of a model."""
    return f"{size.name}, {change.name}"


def phase_table(sides: Mapping[str, Sequence[Stall]]) -> str:
    """Return what the stalls consist of as a Markdown table: medians, quartiles of the whole."""
    lines = ["| case | side | n | stall, s | quartiles | phases, s |", "|---|---|---|---|---|---|"]
    cases = dict.fromkeys((s.size, s.change) for stalls in sides.values() for s in stalls)
    for size, change in cases:
        for name, stalls in sides.items():
            here = _of(stalls, size, change)
            if here:
                lines.append(f"| {case_name(size, change)} | {name} | {_phase_cells(here)} |")
    return "\n".join(lines)


def floor_table(floors: Iterable[Floor]) -> str:
    """Return what the floor was computed from as a Markdown table."""
    head = ["| workers | process group, s | state, bytes | broadcast, s | quartiles | GB/s |"]
    lines = [*head, "|---|---|---|---|---|---|"]
    for floor in floors:
        for num_bytes, seconds in floor.broadcast_s.items():
            low, middle, high = quartiles(seconds)
            lines.append(
                f"| {floor.workers} | {statistics.median(floor.group_s):.2g} | {num_bytes} "
                f"| {middle:.2g} | {low:.2g} - {high:.2g} "
                f"| {floor.bytes_per_s(num_bytes) / 1e9:.2g} |"
            )
    return "\n".join(lines)


def _phase_cells(stalls: Sequence[Stall]) -> str:
    low, middle, high = quartiles([stall.seconds for stall in stalls])
    names = dict.fromkeys(name for stall in stalls for name in stall.phases)
    phases = ", ".join(
        f"{name} {statistics.median(s.phases.get(name, 0.0) for s in stalls):.3g}" for name in names
    )
    return f"{len(stalls)} | {middle:.3g} | {low:.3g} - {high:.3g} | {phases}"


def _of(stalls: Iterable[Stall], size: Size, change: Change) -> list[Stall]:
    return [stall for stall in stalls if (stall.size, stall.change) == (size, change)]

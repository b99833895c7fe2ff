"""What all benchmarks share: arguments, alternated timing, ratios with their spread, the table."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

Clock = Callable[[Callable[[], object]], float]
"""Runs a call to its end and returns the seconds it took."""


@dataclass(frozen=True)
class Arguments:
    """How a benchmark was asked to run; neither quick nor full is the usual size."""

    size: Literal["quick", "usual", "full"]
    json: Path | None


@dataclass(frozen=True)
class Aim:
    """A bar for a ratio."""

    sense: Literal["<=", ">="]
    bound: float

    def is_met(self, ratio: float) -> bool:
        """Return whether the ratio reaches the bar."""
        return ratio <= self.bound if self.sense == "<=" else ratio >= self.bound


@dataclass(frozen=True)
class Row:
    """One comparison: medians, the ratio ours / peer and its quartiles over the rounds."""

    case: str
    metric: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    spread: tuple[float, float]
    aim: str | None
    met: bool | None


@dataclass(frozen=True)
class Table:
    """Numbers beside the comparisons: printed below them and written under ``tables``.

    Args:
        title: What they are.
        columns: Names, with units.
        rows: A cell for each column; None: there is none.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]

    def __str__(self) -> str:
        """Return it as Markdown below its title."""
        cells = [[_text(cell) for cell in row] for row in self.rows]
        return f"{self.title}:\n\n{_markdown([list(self.columns), *cells])}"


def arguments(name: str, about: str, argv: Sequence[str] | None = None) -> Arguments:
    """Read the command line that all benchmarks share."""
    return read(parser(name, about).parse_args(argv))


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """Return what reads it, for a benchmark to add options of its own."""
    found = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    size = found.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="within five minutes on two cores")
    size.add_argument("--full", action="store_true", help="more rounds and larger cases")
    found.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    return found


def read(given: argparse.Namespace) -> Arguments:
    """Return what was read of the shared part."""
    return Arguments("quick" if given.quick else "full" if given.full else "usual", given.json)


def missing(names: str) -> int:
    """Say which packages a benchmark compares with and how to get them; return the exit code."""
    print(
        f"this benchmark compares with {names}, which cannot be imported: "
        'pip install "absa[benchmarks]"',
        file=sys.stderr,
    )
    return 2


def wall_s(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes on the host's clock."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def cuda_s(call: Callable[[], object]) -> float:
    """Return the seconds between two events around a call's kernels; waits for them."""
    begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    begin.record()
    call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def alternate(
    calls: Mapping[str, Callable[[], object]], rounds: int, clock: Clock, warmup: int = 3
) -> dict[str, list[float]]:
    """Time calls in turn, so that what disturbs the machine disturbs all of them.

    Each round runs every call once and begins with another one.

    Args:
        calls: What to time, by name.
        rounds: Timings of each, > 0.
        clock: `wall_s` or `cuda_s`.
        warmup: Rounds that are not counted.

    Returns:
        Seconds by name; equal positions are of the same round.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for round_number in range(-warmup, rounds):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            seconds = clock(calls[name])
            if round_number >= 0:
                times[name].append(seconds)
    return times


def compare(
    case: str,
    metric: str,
    ours: Sequence[float],
    peer: Sequence[float],
    peer_name: str,
    aim: Aim | None = None,
) -> Row:
    """Return the row for two series whose equal positions were measured side by side.

    Args:
        case: What was measured.
        metric: Name and unit of the numbers.
        ours: One number per round, > 0.
        peer: The same of the peer.
        peer_name: Who that is.
        aim: The bar for ours / peer.
    """
    ratios = [a / b for a, b in zip(ours, peer, strict=True)]
    low, ratio, high = quartiles(ratios)
    return Row(
        case=case,
        metric=metric,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        peer_name=peer_name,
        ratio=ratio,
        spread=(low, high),
        aim=None if aim is None else f"{aim.sense} {aim.bound:g}",
        met=None if aim is None else aim.is_met(ratio),
    )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the first quartile, the median and the third quartile."""
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def report(name: str, rows: Sequence[Row], given: Arguments, tables: Sequence[Table] = ()) -> None:
    """Print the tables as Markdown and write the JSON file if one was asked for."""
    result: dict[str, Any] = {
        "name": name,
        "commit": commit(),
        "machine": machine(),
        "rows": [asdict(row) for row in rows],
    }
    print(f"{name} at {result['commit']} on {result['machine']}\n")
    print("\n\n".join([table(rows), *map(str, tables)]))
    if tables:
        result["tables"] = [asdict(each) for each in tables]
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ["case", "metric", "ours", "peer", "peer's name", "ratio", "quartiles", "aim", "met"]
    return _markdown([head, *(_cells(row) for row in rows)])


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells, the head first, as a Markdown table."""
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
    padded = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in lines]
    rule = ["-" * w for w in widths]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])


def _text(cell: str | float | None) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else f"{cell:.4g}"


def _cells(row: Row) -> list[str]:
    met = {None: "", True: "yes", False: "no"}[row.met]
    spread = f"{row.spread[0]:.3g} - {row.spread[1]:.3g}"
    numbers = [f"{row.ours:.4g}", f"{row.peer:.4g}", row.peer_name, f"{row.ratio:.3g}", spread]
    return [row.case, row.metric, *numbers, row.aim or "", met]


def commit() -> str:
    """Return the commit that is checked out, with a plus if files differ from it."""
    root = Path(__file__).parent
    try:
        head = _git(root, "rev-parse", "--short", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", "-C", root, *command], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def machine() -> str:
    """Return the machine in one line: processor, cores, memory, accelerator, versions."""
    parts: list[Any] = [
        _processor(),
        f"{psutil.cpu_count()} cores, {torch.get_num_threads()} threads",
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())),
        f"Python {platform.python_version()}, torch {torch.__version__}",
    ]
    return ", ".join(parts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

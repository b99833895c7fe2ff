"""What an update costs that is listened to: alternated blocks of updates with and without."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from absa.collective import Collective
from absa.noise_scale.average import NoiseAverage, NoiseWindow
from absa.noise_scale.config import DEFAULT_WINDOW_UPDATES, NoiseScaleConfig
from absa.noise_scale.groups import layer_groups
from absa.noise_scale.sample import NormSample
from absa.task import Task
from benchmarks.engine_overhead import CASES as NETWORKS
from benchmarks.engine_overhead import RandomImages
from benchmarks.measure import Aim, Row, Table, alternate, compare, quartiles, wall_s
from benchmarks.noise_scale.engine import Listening, Updates, build

OFF = "not measured"
DEFAULT_EVERY = NoiseScaleConfig().every_updates
DEFAULT_PROBE = NoiseScaleConfig().probe_every_updates
RESNET, MLP = (network.name for network in NETWORKS)
AIMS = {RESNET: Aim("<=", 1.01), MLP: Aim("<=", 1.05)}
"""Those of the issue, for a job that leaves the section ``noise_scale`` out."""

LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4


@dataclass(frozen=True)
class Case:
    """One way in which a network shows its noise, 128 samples on each rank.

    Args:
        network: Its name.
        way: In which, for the table.
        ranks: That share an update.
        bn_group: Samples of a batch-norm group; None: there is no batch-norm.
        every: Intervals of looking that are timed.
        probe: Whether each look computes another update.
        block: Updates that are timed at a time, a multiple of every interval.
        share: Of the rounds that are asked for.
    """

    network: str
    way: str
    ranks: int
    bn_group: int | None
    every: tuple[int, ...] = (1, 2, 12)
    probe: bool = False
    block: int = 12
    share: float = 1.0

    @property
    def name(self) -> str:
        """Return it in words."""
        return f"{self.network}, {self.ranks} rank{'s' * (self.ranks > 1)}, {self.way}"


CASES = (
    Case(MLP, "halves", 1, None, block=96, share=3),
    Case(MLP, "units", 2, None, block=96, share=1.5),
    Case(RESNET, "halves", 1, 64, every=(1, 12)),
    Case(RESNET, "units", 2, 128, every=(1, 12), share=0.75),
    # In blocks of the hundred updates of a job it would say the same, in minutes.
    Case(RESNET, "probe", 1, 128, every=(1,), probe=True, block=1),
)

Seconds = Mapping[int | None, Sequence[float]]
"""Seconds of each block by the interval of looking; None: without."""


def time_blocks(
    collective: Collective, task: Task, updates: Updates, case: Case, rounds: int
) -> dict[int | None, list[float]]:
    """Time blocks of updates that are looked at in every interval of a case, and without."""
    calls = {
        str(every): _block(collective, task, updates, _listening(case, every), case.block)
        for every in (None, *case.every)
    }
    times = alternate(calls, rounds, wall_s, warmup=1)
    return {every: times[str(every)] for every in (None, *case.every)}


def time_case(collective: Collective, case: Case, rounds: int) -> dict[int | None, list[float]]:
    """Time the blocks of a case on random images."""
    (network,) = (each for each in NETWORKS if each.name == case.network)
    micro_batch = network.micro_batch
    batch = micro_batch * collective.world_size
    updates = Updates(batch, micro_batch, case.bn_group, LR, MOMENTUM, WEIGHT_DECAY)
    rounds = max(round(rounds * case.share), 2)
    return time_blocks(collective, RandomImages(network), updates, case, rounds)


def _listening(case: Case, every: int | None) -> Listening:
    # Where an update cannot be cut, the interval is that of probes.
    return Listening(every, every if case.probe else None)


def _block(
    collective: Collective, task: Task, updates: Updates, listening: Listening, length: int
) -> Callable[[], None]:
    known = None if listening.every_updates is None else settled(task, updates)
    loop = build(task, updates, listening, collective, known).loop

    def block() -> None:
        for _ in range(length):
            loop.step()

    return block


def settled(task: Task, updates: Updates) -> NoiseAverage:
    """Return an average that is full: a new one has the units of more updates looked at."""
    names = [name for name, _ in task.build_model().named_parameters()]
    ones = (1.0,) * len(names)
    # Of two units whose gradients are at right angles.
    sample = NormSample(
        updates.batch, float(updates.batch), ones, (2.0 * updates.batch,) * len(names), 2.0
    )
    window = NoiseWindow(DEFAULT_WINDOW_UPDATES * updates.batch, groups=layer_groups(names))
    average = NoiseAverage()
    for _ in range(5 * DEFAULT_WINDOW_UPDATES):
        average = window.step(average, sample)
    return average


def rows(case: Case, seconds: Seconds) -> list[Row]:
    """Return a row for each interval; what a job does by default is judged."""
    plain = _ms(seconds[None], case.block)
    found = []
    for every in case.every:
        aim = AIMS[case.network] if every == DEFAULT_EVERY else None
        name = f"{case.name}, {_often(every)}"
        found.append(compare(name, "ms/update", _ms(seconds[every], case.block), plain, OFF, aim))
    if case.probe:
        assert DEFAULT_PROBE is not None
        probed = _ms(seconds[1], case.block)
        shared = [b + (a - b) / DEFAULT_PROBE for a, b in zip(probed, plain, strict=True)]
        name = f"{case.name}, every {DEFAULT_PROBE} (computed)"
        found.append(compare(name, "ms/update", shared, plain, OFF, AIMS[case.network]))
    return found


def price_table(timed: Sequence[tuple[Case, Seconds]]) -> Table:
    """Return what looking at one update costs, and what that comes to in every so many updates."""
    lines = []
    for case, seconds in timed:
        shortest = min(case.every)
        pairs = zip(seconds[shortest], seconds[None], strict=True)
        looks = [100 * shortest * (measured / plain - 1) for measured, plain in pairs]
        low, look, high = quartiles(looks)
        default = DEFAULT_PROBE if case.probe else DEFAULT_EVERY
        assert default is not None
        lines.append((case.name, look, low, high, look / 2, look / 5, default, look / default))
    columns = (
        "case",
        "one look",
        "quartile",
        "quartile ",
        "every 2",
        "every 5",
        "default",
        "at the default",
    )
    title = "What looking at the units of updates costs, in per cent of an update's time"
    return Table(title, columns, tuple(lines))


def _often(every: int) -> str:
    return "every update" if every == 1 else f"every {every}"


def _ms(seconds: Sequence[float], block: int) -> list[float]:
    return [1e3 * each / block for each in seconds]

"""What goes wrong when, as data: the schedules that the simulated world plays."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

FAULTS_END_S = 5.0

FaultKind = Literal[
    "crash", "hangup", "hang", "freeze", "busy", "stuck", "link", "rift", "partition",
    "controller", "wish", "shortage", "slow",
]  # fmt: skip
PEACEFUL = {"wish", "shortage", "busy"}
"""What happens without anything going wrong: no generation may break."""
LASTING = {"freeze", "stuck", "rift"}


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, or changes.

    Args:
        at_s: When.
        kind: crash (a worker's process ends), hangup (its connection to the controller ends, but
            it lives), hang (it stands still and comes back), freeze (it stands still for good and
            cannot be ended), busy (its main thread takes long over something and says nothing of
            it), stuck (its main thread hangs for good, its heartbeats go on), link (it and another
            worker do not hear each other), rift (nor ever again), partition (it and the controller
            do not hear each other), controller (it is lost and comes back), wish (another number
            of workers), shortage (asked workers do not come), slow (messages take long).
        target: Which worker, counted among the living; or how many are wanted.
        lasts_s: How long; unless it is for good.
    """

    at_s: float
    kind: FaultKind
    target: int
    lasts_s: float

    @property
    def over_s(self) -> float:
        """When things go well again, as far as they will."""
        return self.at_s + (0.0 if self.kind in LASTING else self.lasts_s)


@dataclass(frozen=True)
class Schedule:
    """One world.

    Args:
        seed: Of all delays.
        wanted: Workers wanted at first.
        least: With how many of them it may begin.
        loss: Share of messages that get lost.
        doubling: Share of messages that come twice.
        drift: Clocks run between ``1 - drift`` and ``1 + drift`` times as fast as time.
        silent: A collective over a link that is cut hangs; else it fails.
        blaming: Members can tell whom they did not reach.
        faults: In the order of time.
    """

    seed: int
    wanted: int
    least: int = 1
    loss: float = 0.0
    doubling: float = 0.0
    drift: float = 0.0
    silent: bool = False
    blaming: bool = True
    faults: tuple[Fault, ...] = ()


def make_schedule(seed: int) -> Schedule:
    """Return a random schedule."""
    rng = random.Random(seed)
    kinds: tuple[FaultKind, ...] = (
        "crash", "crash", "hangup", "hang", "freeze", "busy", "stuck", "link", "rift", "partition",
        "controller", "wish", "wish", "shortage", "slow",
    )  # fmt: skip
    if rng.random() < 0.15:
        kinds = ("wish", "wish", "shortage", "busy")
    faults = tuple(
        Fault(
            at_s=round(rng.uniform(0, FAULTS_END_S), 3),
            kind=rng.choice(kinds),
            target=rng.randint(0, 3),
            lasts_s=round(rng.choice((0.2, 1.0, 2.2, 3.0, 5.0)) * rng.uniform(0.8, 1.2), 3),
        )
        for _ in range(rng.randint(0, 6))
    )
    wanted = rng.randint(1, 3)
    return Schedule(
        seed,
        wanted,
        least=rng.randint(1, wanted),
        loss=rng.choice((0.0, 0.0, 0.1)),
        doubling=rng.choice((0.0, 0.1)),
        drift=rng.choice((0.0, 0.1)),
        silent=rng.random() < 0.3,
        blaming=rng.random() < 0.5,
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
    )


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Leave out of a failing schedule whatever is not needed for it to fail."""
    plain = Schedule(schedule.seed, schedule.wanted)
    smaller = True
    while smaller:
        smaller = False
        candidates = [
            replace(schedule, faults=schedule.faults[:i] + schedule.faults[i + 1 :])
            for i in range(len(schedule.faults))
        ]
        candidates += [
            replace(schedule, **{name: getattr(plain, name)})
            for name in ("least", "loss", "doubling", "drift", "silent", "blaming")
            if getattr(schedule, name) != getattr(plain, name)
        ]
        if schedule.wanted > max(schedule.least, 1):
            candidates.append(replace(schedule, wanted=schedule.wanted - 1))
        for candidate in candidates:
            if fails(candidate):
                schedule, smaller = candidate, True
                break
    return schedule

"""The two state machines in a world where everything goes wrong."""

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from membership_schedule import Schedule, make_schedule, shrink
from membership_simulation import Clock, World, broken_rule

from cluster.elastic.protocol import coordinator, member
from cluster.elastic.protocol.member import Holding, Transfer


def with_bug(module: ModuleType, **functions: Any) -> Any:
    """Return a copy of the module in which some functions are replaced, for itself as well."""
    spec = importlib.util.find_spec(module.__name__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    same = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    vars(copy).update(same | functions)
    return copy


def first_failure(seeds: range) -> int | None:
    return next((seed for seed in seeds if broken_rule(make_schedule(seed)) is not None), None)


def explain(seed: int) -> str:
    """Return the smallest schedule that still fails, and what happens in it."""
    smallest = shrink(make_schedule(seed), lambda schedule: broken_rule(schedule) is not None)
    world = World(smallest)
    world.trace = []
    try:
        world.play()
    except AssertionError as broken:
        world.trace.append(str(broken))
    return "\n".join([f"seed {seed}, shrunk to {smallest}", *world.trace])


def play_all(seeds: range, processes: int) -> None:
    chunks = [range(start, min(start + 500, seeds.stop)) for start in seeds[::500]]
    with ProcessPoolExecutor(processes) as pool:
        failures = [seed for seed in pool.map(first_failure, chunks) if seed is not None]
    assert not failures, explain(failures[0])


def test_a_thousand_schedules_keep_every_rule() -> None:
    failed = first_failure(range(1000))
    assert failed is None, explain(failed)


@pytest.mark.cpu_heavy
def test_a_hundred_thousand_schedules_keep_every_rule() -> None:
    play_all(range(1000, 101_000), os.cpu_count() or 1)


@pytest.mark.soak
def test_a_million_schedules_keep_every_rule() -> None:
    play_all(range(101_000, 1_101_000), os.cpu_count() or 1)


def test_a_schedule_plays_the_same_way_twice() -> None:
    traces = []
    for _ in range(2):
        world = World(make_schedule(30))
        world.trace = []
        world.play()
        traces.append(world.trace)
    assert traces[0] == traces[1]
    assert len(traces[0]) > 10


# Bugs that people have made, each of which must be found.


def source_is_the_first_rank(state: Any, generation: int, holdings: Any) -> Any:
    """Whoever has the first rank hands over its state, although another is an update ahead."""
    state, actions = member.formed(state, generation, holdings)
    if actions and isinstance(actions[0], Transfer):
        members = state.announced.members
        able = [
            w for w in members if holdings[w] and holdings[w].lineage == state.announced.lineage
        ]
        return state, (Transfer(generation, able[0]),)
    return state, actions


def no_lease(state: Any, generation: int, now_s: float) -> bool:
    """A worker that was stopped and replaced goes on when it wakes."""
    return state.phase == "training" and state.generation == generation


def nobody_gives_up(state: Any, announcement: Any) -> Any:
    """A member waits for its boundary even when its generation is beyond repair."""
    return member.announced(state, replace(announcement, breaks=False))


def everybody_seems_to_have_the_state(state: Any, *arguments: Any) -> Any:
    """When all who had the state are lost, newcomers are announced as if they had it."""
    state, actions = coordinator.advance(state, *arguments)
    newest = state.announcement
    if newest is None or not newest.restores or newest.generation == 0:
        return state, actions
    hopeful = replace(newest, restores=False)
    publish = coordinator.Publish
    actions = tuple(publish(hopeful) if isinstance(a, publish) else a for a in actions)
    return replace(state, announcement=hopeful), actions


def newcomers_are_believed(state: Any, generation: int, holdings: Any) -> Any:
    """A newcomer may be the source, as if an empty state were one."""
    lineage = 0 if state.announced is None else state.announced.lineage
    filled = {w: held or Holding(lineage, 10**6) for w, held in holdings.items()}
    return member.formed(state, generation, filled)


def goes_on(state: Any) -> Any:
    """A member whose connection has ended trains on until its lease is over."""
    return state


def hang_ups_mean_nothing(state: Any, worker: int, now_s: float) -> Any:
    """Survivors wait until somebody finds the death."""
    return state, ()


def nothing_is_done(state: Any, now_s: float) -> Any:
    return state, ()


def with_words(rule: Callable[[Any, float], Any], **words: Any) -> Callable[[Any, float], Any]:
    """Return the rule, to which all workers seem to say something else."""

    def deceived(state: Any, now_s: float) -> Any:
        workers = {
            id_: replace(known, status=known.status and replace(known.status, **words))
            for id_, known in state.workers.items()
        }
        after, actions = rule(replace(state, workers=workers), now_s)
        return replace(after, workers={id_: state.workers[id_] for id_ in after.workers}), actions

    return deceived


def impatient(state: Any, now_s: float) -> Any:
    """The silent are taken for dead before their lease is over."""
    hasty = replace(state.limits, margin_s=-0.5 * state.limits.lease_s)
    after, actions = coordinator.end_the_silent(replace(state, limits=hasty), now_s)
    return replace(after, limits=state.limits), actions


class FarApart(World):
    """Clocks run at speeds that differ by more than the margin allows."""

    def _make_clock(self) -> Clock:
        return Clock(self.rng.choice((0.7, 1.4)), 0.0)


class NoAgreement(World):
    """Each member leaves when it knows itself, instead of when all have agreed."""

    def _apply(self, worker: int, generation: int, newer: bool) -> None:
        own = self.processes[worker].member.announced.generation > generation
        super()._apply(worker, generation, own)


BUGS = {
    "the first rank is the source": {"member": with_bug(member, formed=source_is_the_first_rank)},
    "no lease": {"member": with_bug(member, may_apply=no_lease)},
    "nobody gives up": {"member": with_bug(member, announced=nobody_gives_up)},
    "each leaves when it knows": {"world": NoAgreement},
    "everybody seems to have the state": {
        "coordinator": with_bug(coordinator, advance=everybody_seems_to_have_the_state)
    },
    "newcomers are believed": {"member": with_bug(member, formed=newcomers_are_believed)},
    "one that is cut off goes on": {"member": with_bug(member, cut_off=goes_on)},
    "hang-ups mean nothing": {"coordinator": with_bug(coordinator, hung_up=hang_ups_mean_nothing)},
    "nobody is dropped": {
        "coordinator": with_bug(coordinator, drop_the_unreachable=nothing_is_done)
    },
    "nobody listens to blame": {
        "coordinator": with_bug(
            coordinator,
            drop_the_unreachable=with_words(coordinator.drop_the_unreachable, blames=None),
        )
    },
    "a main thread may hang": {"coordinator": with_bug(coordinator, end_the_stuck=nothing_is_done)},
    "those who wait seem to hang": {
        "coordinator": with_bug(
            coordinator, end_the_stuck=with_words(coordinator.end_the_stuck, waits=False)
        )
    },
    "the silent are ended too soon": {
        "coordinator": with_bug(coordinator, end_the_silent=impatient)
    },
    "clocks are too far apart": {"world": FarApart},
}


RARE = {
    "no lease": 400,
    "one that is cut off goes on": 1500,
}
"""Where to begin to search for those that take long to find."""


def found(schedules: range, breaks: Callable[[Schedule], bool]) -> Schedule | None:
    return next((s for s in map(make_schedule, schedules) if breaks(s)), None)


@pytest.mark.cpu_heavy
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found_and_shrunk(name: str) -> None:
    def breaks(schedule: Schedule) -> bool:
        return broken_rule(schedule, **BUGS[name]) is not None

    schedule = found(range(RARE.get(name, 0), 10_000), breaks)
    assert schedule is not None
    smallest = shrink(schedule, breaks)
    assert breaks(smallest)
    assert broken_rule(smallest) is None
    assert len(smallest.faults) <= len(schedule.faults)

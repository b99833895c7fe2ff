"""The arms: each is a job, and most keep every default."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.fewer_updates.match import clock_interval, even_batch
from benchmarks.fewer_updates.outcome import Outcome
from benchmarks.fewer_updates.replayed import Course, shuffled
from benchmarks.fewer_updates.size import FIRST_BATCH, Size
from benchmarks.fewer_updates.train import Work

Section = dict[str, Any]

ADAPTIVE = "hybrid"
"""Whose updates the arms with matched updates match, seed by seed."""
SHARES = (1.0, 0.5, 0.25, 0.125)
"""Of the linearly scaled learning rate: what is tried where it is tuned."""
WARMUP_SHARE = 1 / 18
"""Of the training: 5 of 90 epochs, as in Goyal et al. 2017, arXiv:1706.02677, section 2.2."""


@dataclass(frozen=True, order=True)
class Key:
    """One cell: an arm with a seed."""

    arm: str
    seed: int


@dataclass(frozen=True)
class Ask:
    """What an arm's job depends on.

    Args:
        size: Of the benchmark.
        seed: Of weights and samples.
        known: Outcomes of other cells.
    """

    size: Size
    seed: int
    known: Mapping[Key, Outcome] = field(default_factory=dict)

    def of(self, arm: str) -> Outcome:
        """Return the outcome of another arm with this seed."""
        return self.known[Key(arm, self.seed)]


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        title: For tables.
        job: What is to be trained.
        same_seed: Arms that must have run with the same seed before.
        tuning: Arms that must have run with the tuning seed before.
    """

    title: str
    job: Callable[[Ask], Work]
    same_seed: tuple[str, ...] = ()
    tuning: tuple[str, ...] = ()

    def needs(self, seed: int, tuning_seed: int) -> tuple[Key, ...]:
        """Return the cells that must be known before."""
        mine = [Key(arm, seed) for arm in self.same_seed]
        return (*mine, *(Key(arm, tuning_seed) for arm in self.tuning))


def _job(ask: Ask, **sections: Section) -> Section:
    """Return what all arms have in common: all that is not a default of a job."""
    size = ask.size
    common: dict[str, Section] = {
        "data": {"name": "cifar10", "flip": True},
        "model": dict(size.model),
        "batch": {
            "initial": FIRST_BATCH,
            "max": size.max_batch,
            "micro": size.micro_batch,
            "bn_group": FIRST_BATCH,
        },
        "schedule": {
            "reference_batch": FIRST_BATCH,
            "warmup": {"epochs": size.epochs * WARMUP_SHARE},
            "decay": {"kind": "steps", "fractions": [1 / 3, 2 / 3, 8 / 9], "factor": 0.2},
        },
        "stop": {"epochs": size.epochs},
        "evaluate": {"every_epochs": size.epochs, "batch": 1000},
        # With a smaller share, when one is due would depend on what else the machine does.
        "curvature": {"max_share": 1.0},
        "checkpoint": {"every_s": None, "keep_best": False},
    }
    merged = {name: {**common.get(name, {}), **given} for name, given in sections.items()}
    return {"seed": ask.seed, **common, **merged}


def _without_signals(ask: Ask, batch: int, **sections: Section) -> Section:
    """Return the job of a constant batch, which needs no signals."""
    return _job(
        ask,
        policy={"kind": "fixed"},
        batch={"initial": batch, "max": batch, "micro": min(batch, ask.size.micro_batch)},
        curvature={"every_epochs": None},
        noise_scale={"every_updates": None},
        **sections,
    )


def _sgd(ask: Ask) -> Work:
    return Work(_without_signals(ask, FIRST_BATCH))


def _sgd_short(ask: Ask) -> Work:
    epochs = ask.of(ADAPTIVE).updates / ask.size.updates_at_first_batch
    schedule = {"warmup": {"epochs": epochs * WARMUP_SHARE}}
    stop, evaluate = {"epochs": epochs}, {"every_epochs": epochs}
    work = _without_signals(ask, FIRST_BATCH, schedule=schedule, stop=stop, evaluate=evaluate)
    return Work(work)


def _large(share: float) -> Callable[[Ask], Work]:
    return lambda ask: _linear(ask, ask.size.max_batch, share)


def _even(share: float) -> Callable[[Ask], Work]:
    return lambda ask: _linear(ask, even_batch(ask.of(ADAPTIVE), ask.size), share)


def _linear(ask: Ask, batch: int, share: float) -> Work:
    """Linear scaling and warm-up at a constant batch; a share below 1 lowers the whole course."""
    optimizer = {"lr": 0.1 * share}
    return Work(_without_signals(ask, batch, optimizer=optimizer, schedule={"scaling": "linear"}))


def _tuned(make: Callable[[float], Callable[[Ask], Work]], base: str) -> Callable[[Ask], Work]:
    def job(ask: Ask) -> Work:
        tried = {s: ask.known[Key(trial(base, s), ask.size.tuning_seed)].accuracy for s in SHARES}
        return make(max(tried, key=lambda share: tried[share]))(ask)

    return job


def _lars(ask: Ask) -> Work:
    """The paper's course: power 2, warm-up, and its rates 4, 9, 30, 33 at 256, 1K, 8K, 16K.

    The square root of the batch gives 4, 8, 22.6, 32.

    Source: arXiv:1708.03888, section 5 (ResNet-50).
    """
    optimizer: Section = {"name": "lars", "lr": 4.0}
    schedule = {
        "scaling": "sqrt",
        "reference_batch": 256,
        "decay": {"kind": "polynomial"},
    }
    return Work(_without_signals(ask, ask.size.max_batch, optimizer=optimizer, schedule=schedule))


def _policy(kind: str) -> Callable[[Ask], Work]:
    return lambda ask: Work(_job(ask, policy={"kind": kind}))


def _clock(ask: Ask) -> Work:
    every = clock_interval(ask.of(ADAPTIVE).updates, ask.size)
    return Work(_job(ask, policy={"kind": "clock", "every_epochs": every}))


def _abs_shuffled(ask: Ask) -> Work:
    course: Course = shuffled(ask.of("abs"), ask.seed)
    return Work(_job(ask, policy={"kind": "abs"}), course)


def trial(base: str, share: float) -> str:
    """Return the name of the arm that tries a share of the linearly scaled learning rate."""
    return base if share == 1 else f"{base}@{share:g}"


def _trials(
    base: str, title: str, make: Callable[[float], Callable[[Ask], Work]], *same_seed: str
) -> dict[str, Arm]:
    return {
        trial(base, share): Arm(f"{title}, lr x {share:g}", make(share), same_seed)
        for share in SHARES
    }


_LARGE = "SGD, largest batch, linear"
_EVEN = "SGD, constant batch of as many updates as hybrid, linear"

# Those that others wait for come first.
ARMS: dict[str, Arm] = {
    "hybrid": Arm("hybrid", _policy("hybrid")),
    "abs": Arm("abs", _policy("abs")),
    "absa": Arm("absa", _policy("absa")),
    "noise_scale": Arm("noise_scale", _policy("noise_scale")),
    "sgd": Arm("SGD, 128", _sgd),
    **_trials("large", _LARGE, _large),
    **_trials("even", _EVEN, _even, ADAPTIVE),
    "sgd_short": Arm("SGD, 128, as few updates as hybrid", _sgd_short, (ADAPTIVE,)),
    "large_tuned": Arm(
        f"{_LARGE}, lr tuned", _tuned(_large, "large"), (), tuple(trial("large", s) for s in SHARES)
    ),
    "even_tuned": Arm(
        f"{_EVEN}, lr tuned",
        _tuned(_even, "even"),
        (ADAPTIVE,),
        tuple(trial("even", s) for s in SHARES),
    ),
    "lars": Arm("LARS, largest batch", _lars),
    "clock": Arm("clock, as many updates as hybrid", _clock, (ADAPTIVE,)),
    "abs_shuffled": Arm("abs, growth times shuffled", _abs_shuffled, ("abs",)),
}

TABLE = (
    "sgd",
    "sgd_short",
    "large",
    "large_tuned",
    "lars",
    "even_tuned",
    "clock",
    "abs_shuffled",
    "abs",
    "absa",
    "noise_scale",
    "hybrid",
)
"""The arms of the table, in its order; the others only tune learning rates."""

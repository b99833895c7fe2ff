"""A boundary, a saver and a clock in memory, and a loop between them."""

from dataclasses import dataclass, field, replace
from typing import Any

from engine import Classify, make_replica
from measuring import room

from absa.boundary import Command
from absa.collective import Collective, SingleProcess
from absa.events import Record
from absa.instruments import Instruments
from absa.loop import Loop
from absa.outside import Outside
from absa.progress import Progress
from absa.rules import Rules
from absa.run_state import RunState, restore
from absa.schedules.config import DecayConfig, ScheduleConfig, WarmupConfig
from absa.schedules.learning_rate import LearningRate, learning_rate
from absa.settings import Settings
from absa.state import StateTree, clone_to_host
from absa.stop import StopConfig
from absa.update.replica import Replica

NEVER = 1 << 60


@dataclass
class FakeBoundary:
    """Keeps records; gives the command that is planned for an update, once."""

    commands: dict[int, Command] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    asked: int = 0
    taken: int = 0

    def record(self, record: Record) -> None:
        self.records.append(record)

    def waiting(self) -> bool:
        self.asked += 1
        return any(number <= self.asked for number in self.commands)

    def take(self) -> Command:
        self.taken += 1
        return self.commands.pop(min(self.commands))

    def of(self, event: str) -> list[Record]:
        return [record for record in self.records if record["event"] == event]


@dataclass
class FakeSaver:
    """Keeps every checkpoint, as it was."""

    saved: list[tuple[StateTree, Record]] = field(default_factory=list)

    def save(self, tree: StateTree, about: Record) -> None:
        self.saved.append((clone_to_host(tree), about))

    def finish(self, about: Record) -> str | None:
        return f"checkpoint-{self.saved[-1][1]['update']}" if self.saved else None

    def why(self) -> list[tuple[int, str]]:
        return [(about["samples"], about["why"]) for _, about in self.saved]


@dataclass
class Clock:
    """Seconds that pass only when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def tick(self) -> None:
        self.now += 1.0


def constant_lr(lr: float = 0.1, scaling: str = "none") -> LearningRate:
    schedule = ScheduleConfig(
        scaling=scaling,
        reference_batch=4,
        warmup=WarmupConfig(kind="none"),
        decay=DecayConfig(kind="none"),
    )
    return learning_rate(lr, schedule, 100, None)


RULES = Rules(
    learning_rate=constant_lr(),
    stop=StopConfig(updates=6),
    evaluate_samples=NEVER,
    evaluate_batch=5,
    observe_updates=NEVER,
    checkpoint_samples=None,
    checkpoint_s=None,
    keep_best=False,
    max_skipped=3,
)

SETTINGS = Settings(global_batch=4, micro_batch=4)


@dataclass
class Run:
    """A loop and all that it is connected to."""

    task: Classify
    rules: Rules = RULES
    settings: Settings = SETTINGS
    options: dict[str, Any] = field(default_factory=dict)
    instruments: dict[str, Any] = field(default_factory=dict)
    commands: dict[int, Command] = field(default_factory=dict)
    resumed: StateTree | None = None
    collective: Collective = field(default_factory=SingleProcess)

    def __post_init__(self) -> None:
        self.boundary, self.saver = FakeBoundary(dict(self.commands)), FakeSaver()
        self.clock = Clock()
        self.replica: Replica = make_replica(self.task, **self.options)
        if "curvature" in self.instruments:
            self.replica = replace(self.replica, signals=room(self.replica))
        state = RunState(Progress(), self.settings)
        if self.resumed is not None:
            state = restore(self.replica, self.resumed)
        self.loop = Loop(
            self.replica,
            Instruments(self.task.source, ("accuracy", "loss"), **self.instruments),
            self.rules,
            Outside(self.collective, self.boundary, self.saver, lineage=2, generation=5),
            state,
            self.clock,
        )

    def train(self) -> Any:
        self.outcome = self.loop.train({"name": "run"})
        return self


def rules(**changes: Any) -> Rules:
    return replace(RULES, **changes)

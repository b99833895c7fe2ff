"""Every view takes every record; what it shows is checked view by view."""

import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from cluster.views import View, make_view
from cluster.views.background import BackgroundView
from cluster.views.block import Block, rows_to_climb
from cluster.views.json_view import JsonView
from cluster.views.line_view import LineView
from cluster.views.progress import advance
from cluster.views.rich_view import RichView
from cluster.views.steady_stream import SteadyStream

KINDS = """run_started observation evaluation checkpoint update_skipped settings fault run_ended
phase run_folder resize eclipse""".split()  # noqa: SIM905
KEYS = """time lineage generation update samples run name task model num_parameters num_train
workers device threads total_samples resumed_from loss learning_rate global_batch samples_per_s
progress time_left_s metrics best_metrics seconds best checkpoint bytes reason consecutive changed
what detail skipped text path report before after joined left lost phases""".split()  # noqa: SIM905

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=9), st.one_of(st.floats(), st.text(max_size=5)), max_size=3),
    st.just({"accuracy": 0.5, "loss": None}),
    st.just({"global_batch": [64, 128]}),
)
records = st.dictionaries(st.sampled_from(KEYS), values, max_size=12).flatmap(
    lambda record: st.sampled_from([*KINDS, None, 3]).map(lambda kind: {"event": kind, **record})
)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown_by(make: Callable[[Any], View], *records: dict[str, Any]) -> str:
    stream = Terminal()
    with closing(make(stream)) as view:
        for record in records:
            view(record)
    return stream.getvalue()


def rich_view(width: int = 80) -> Callable[[Any], View]:
    return lambda stream: RichView(stream, width=width)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def run(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return journal


@given(many=st.lists(records, max_size=6), width=st.integers(1, 130))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_record_breaks_a_view(many: list[dict[str, Any]], width: int) -> None:
    for make in (rich_view(width), LineView, JsonView):
        shown_by(make, *many)


@pytest.mark.parametrize("make", [rich_view(), LineView])
def test_control_characters_of_others_never_reach_the_terminal(make: Callable[[Any], View]) -> None:
    evil = "\x1b[2Jgone\r\nINJECTED\x07\u202e"
    shown = shown_by(
        make,
        {"event": "run_started", "name": evil, "model": evil, "num_train": 10, "update": 0},
        {"event": "fault", "what": evil, "detail": evil},
        {"event": evil, evil: evil},
        {"event": "evaluation", "metrics": {evil: 0.5}, "best": True},
    )
    assert "\x1b[2Jgone" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert not any(line.startswith("INJECTED") for line in shown.splitlines())


# --- lines


def test_lines_carry_no_terminal_codes_and_stay_aligned(run: list[dict[str, Any]]) -> None:
    lines = shown_by(LineView, *run).splitlines()
    assert not any("\x1b" in line for line in lines)
    table = [
        line for line in lines if "%" in line and "epoch" not in line and "accuracy" not in line
    ]
    assert len(table) == 3
    assert len({line.index("%") for line in table}) == 1


def test_lines_tell_every_noteworthy_record(run: list[dict[str, Any]]) -> None:
    shown = shown_by(
        LineView, *run, {"event": "run_folder", "path": "runs/x", "report": "runs/x/r"}
    )
    for word in (
        "resnet20",
        "98.61 %",
        "checkpoint update-9",
        "warning: update skipped: loss is not finite (2 in a row)",
        "batch 64 → 128: noise is small",
        "ERROR: fault: worker lost: node gone",
        "runs/x/r",
        "digits: all epochs done",
    ):
        assert word in shown


def test_a_silent_run_still_writes_a_line_a_minute() -> None:
    begin = {"event": "run_started", "time": 0.0, "num_train": 100, "samples": 0}
    seen = [
        {"event": "observation", "time": float(t), "loss": 1.0, "samples": t} for t in range(300)
    ]
    lines = shown_by(LineView, begin, *seen).split("\n\n")[0].splitlines()
    assert len([line for line in lines if "1.000" in line]) == 4


def test_an_unknown_record_is_shown_with_all_it_carries() -> None:
    assert "eclipse workers=3 cause=moon" in shown_by(
        LineView, {"event": "eclipse", "workers": 3, "cause": "moon", "update": 7}
    )


RESIZE = {
    "event": "resize",
    "before": 1,
    "after": 2,
    "joined": 1,
    "left": 0,
    "lost": 0,
    "seconds": 0.08,
    "time": 61.0,
    "reason": "planned from epoch 20 on",
}


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, "2 workers (1 joined) after a stall of 80 ms: planned from epoch 20 on"),
        ({"reason": None}, "2 workers (1 joined) after a stall of 80 ms"),
        (
            {"after": 1, "joined": 0, "left": 2, "lost": 1, "seconds": 5.2, "reason": "x"},
            "1 worker (2 left, 1 lost) after a stall of 5.2 s: x",
        ),
        ({"after": None, "joined": None, "seconds": None, "reason": None}, "workers changed"),
    ],
)
def test_a_resize_is_one_line(changes: dict[str, Any], note: str) -> None:
    line = shown_by(LineView, RESIZE | changes).splitlines()[0]
    assert line.removeprefix("warning: ").strip().endswith(note)
    assert len(line) <= 80 + 10


@pytest.mark.parametrize("width", [40, 80])
def test_the_block_shows_the_workers_of_a_resize_at_once(width: int) -> None:
    begin = {"event": "run_started", "time": 0.0, "workers": 1, "update": 0, "num_train": 9}
    seen = {"event": "observation", "time": 1.0, "workers": 1, "update": 5, "samples": 5}
    block = Block()
    for record in (begin, seen, {**RESIZE, "update": 5}):
        block.progress = advance(block.progress, record)
    out = io.StringIO()
    Console(file=out, width=width).print(block)
    assert re.search(r"workers +2\b", out.getvalue())
    assert max(map(len, out.getvalue().splitlines())) < width


def test_a_stream_without_unicode_gets_replacements() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    with closing(LineView(stream)) as view:
        view({"event": "settings", "changed": {"global_batch": [64, 128]}, "reason": "größer"})
    assert b"batch 64 ? 128: gr??er" in raw.getvalue()


# --- the live block


def test_block_shows_all_numbers_of_now(run: list[dict[str, Any]]) -> None:
    shown = shown_by(rich_view(), *run[:-1])
    for word in (
        "epoch",
        "3.0/60",
        "12.4k",
        "0.0421",
        "98.61 %",
        "0.0875",
        "generation",
        "0:31 left",
    ):
        assert word in shown


@pytest.mark.parametrize("width", [1, 10, 20, 37, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(run: list[dict[str, Any]], width: int) -> None:
    from rich.cells import cell_len
    from rich.text import Text

    shown = shown_by(rich_view(width), *run[:-1])
    above_summary = shown.split("digits: ")[0]
    assert all(cell_len(Text.from_ansi(line).plain) <= width for line in above_summary.splitlines())


def test_start_up_phase_is_shown_until_training_begins() -> None:
    shown = shown_by(rich_view(), {"event": "phase", "text": "waiting for 2 workers"})
    assert "waiting for 2 workers" in shown


def test_close_shows_the_cursor_again_and_the_way_on() -> None:
    shown = shown_by(
        rich_view(),
        {"event": "run_started", "name": "digits", "num_train": 10, "update": 0},
        {"event": "run_ended", "reason": "interrupted", "checkpoint": "c"},
        {"event": "run_folder", "path": "runs/" + "long" * 30, "report": None},
    )
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")
    assert f"absa train --resume runs/{'long' * 30}" in shown


def test_a_narrower_terminal_has_wrapped_the_block() -> None:
    assert rows_to_climb((79, 79, 40), 80) == 0
    assert rows_to_climb((79, 79, 40), 40) == 2
    assert rows_to_climb((79,), 1) == 78


# --- JSON


def test_each_record_is_one_strict_json_line() -> None:
    record = {
        "event": "observation",
        "loss": float("nan"),
        "name": "ü\n\u2028",
        "metrics": {"a": [1e400]},
    }
    line = shown_by(JsonView, record)
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line, parse_constant=pytest.fail) == {
        **record,
        "loss": None,
        "metrics": {"a": [None]},
    }


def test_a_program_gets_every_record(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(make_view(json=True)) as view:
        for update in range(3000):
            view({"event": "observation", "update": update})
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["update"] for line in lines] == list(range(3000))


def test_prints_of_others_stay_out_of_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(make_view(json=True)) as view:
        view({"event": "phase"})
        print("ray says hello")
    out, err = capsys.readouterr()
    assert out == '{"event":"phase"}\n'
    assert err == "ray says hello\n"
    assert sys.stdout is not sys.stderr


# --- the choice, and readers that go away


@pytest.mark.parametrize(
    ("tty", "term", "live"), [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)]
)
def test_a_live_block_needs_a_terminal_that_can_move_its_cursor(
    monkeypatch: pytest.MonkeyPatch, tty: bool, term: str, live: bool
) -> None:
    stream = Terminal() if tty else io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", term)
    make_view(json=False).close()
    assert ("\x1b[?25l" in stream.getvalue()) is live


def test_a_reader_that_goes_away_ends_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        steady = SteadyStream(stream)
        for _ in range(3):
            steady.write("x" * 100_000)
            steady.flush()
        assert not steady.isatty()


def test_a_stopped_reader_never_holds_up_training() -> None:
    gate, seen = threading.Event(), []

    class Stopped:
        def __call__(self, record: dict[str, Any]) -> None:
            gate.wait()
            seen.append(record)

        def close(self) -> None:
            seen.append("closed")

    view = BackgroundView(Stopped(), patience_s=0.01)
    for update in range(1000):
        view({"event": "observation", "update": update})
    view({"event": "fault"})
    view.close()
    assert seen == []
    gate.set()
    view.close()
    view._thread.join()
    assert seen[-2:] == [{"event": "fault"}, "closed"]
    assert len(seen) < 300


def test_a_closed_standard_output_is_no_fault(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)

    with closing(make_view(json=False)) as view:
        view({"event": "phase", "text": "starting"})


def test_the_loss_of_an_evaluation_has_a_column_of_its_own():
    stream = io.StringIO()
    with closing(LineView(stream)) as view:
        view({"event": "evaluation", "time": 1.0, "metrics": {"loss": 0.5}})

    assert "loss  eval loss" in stream.getvalue().splitlines()[0]

"""The decisions of a run in plain words."""

import io
import re

import pytest
from decided_journal import NUM_TRAIN, ended, journal, resolved, resume, write_run
from rich.console import Console
from typer.testing import CliRunner

from absa.errors import CheckpointError
from cluster.cli import app
from cluster.explaining.explain import explain


def told(folder, *, width: int = 80, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    explain(str(folder), "nowhere", Console(file=stream, width=width, highlight=False))
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.fixture(scope="module")
def job():
    return resolved()


@pytest.fixture(scope="module")
def records(job):
    return journal(job)


def test_each_change_is_told_with_place_rule_reason_and_what_follows(tmp_path, job, records):
    text = told(write_run(tmp_path, ended(records, "epochs"), job))
    growth = [r for r in records if r["event"] == "decision" and r["rule"] == "noise"]
    assert len(growth) >= 2
    for one in growth:
        before, after = one["global_batch"]
        epoch = f"{one['decided_at'] / NUM_TRAIN:.2f}"
        line = next(li for li in text.splitlines() if f"batch {before} -> {after}" in li)
        assert line.split()[:2] == [epoch, str(one["update"])]
        assert f"x{one['lr_scale'][0]:g} -> x{one['lr_scale'][1]:g}" in line
    assert "noise: the noise scale is at least" in text
    assert "policy noise_scale, all epochs done" in text
    assert max(map(len, text.splitlines())) < 80


def test_between_changes_one_paragraph_says_what_kept_the_batch(tmp_path, job, records):
    text = told(write_run(tmp_path, records, job))
    (first, *_) = re.findall(r"(\S+) to (\S+)  kept (\d+) times: (.*)", text)
    kept = [r for r in records if r["event"] == "decision"]
    num = next(i for i, r in enumerate(kept) if r["rule"] == "noise")
    assert first[:3] == ("0.25", f"{kept[num - 1]['samples'] / NUM_TRAIN:.2f}", str(num))
    assert "no end recorded: still running, or cut off" in text


def test_the_summary_counts_what_was_saved(tmp_path, job, records):
    text = told(write_run(tmp_path, records, job))
    updates = max(r["update"] for r in records)
    assert re.search(rf"updates +{updates}  {160 / updates:.2f} times fewer than 160 at 50", text)
    growth = sum(r["event"] == "decision" and r["rule"] == "noise" for r in records)
    assert f"{growth} x  by noise {growth}" in text


def test_a_growth_that_a_limit_cut_short_says_so(tmp_path):
    job = resolved("policy.lr_margin=0.5", "optimizer.lr=1.5")
    text = told(write_run(tmp_path, journal(job), job))
    assert "no more than that: the curvature allows the learning rate" in text
    assert "held back" in text


def test_what_a_resume_gave_up_is_not_told(tmp_path, job, records):
    folder = write_run(tmp_path, resume(records, at=3000, beyond=5000), job)
    text = told(folder)
    growth = [r["decided_at"] for r in records if r["event"] == "decision" and r["rule"] == "noise"]
    assert any(3000 < at < 5000 for at in growth)
    changes = [f"{at / NUM_TRAIN:.2f}" for at in growth]
    assert re.findall(r"(\d\.\d\d) +\d+  batch", text) == changes
    lost = sum(r["event"] == "decision" and 3000 < r["samples"] <= 5000 for r in records)
    assert f"{lost} decisions made after that were" in " ".join(text.split())


def test_an_operator_and_workers_have_a_line_each(tmp_path, job, records):
    at = {key: records[40][key] for key in ("time", "lineage", "generation", "update", "samples")}
    more = [
        {"event": "settings", **at, "changed": {"hold": [False, True]}, "reason": "absa hold"},
        {"event": "resize", **at, "before": 2, "after": 1, "joined": 0, "left": 0, "lost": 1},
    ]
    text = told(write_run(tmp_path, [*records[:41], *more, *records[41:]], job))
    assert "hold off → on: absa hold" in text
    assert "1 worker (1 lost)" in text


def test_a_run_without_decisions_says_so(tmp_path, job, records):
    old = [r for r in records if r["event"] != "decision"]
    del (started := dict(old[0]))["policy"]
    text = told(write_run(tmp_path, [started, *old[1:]], job))
    assert "recorded no decisions" in text
    assert "updates" in text


def test_a_run_that_has_just_begun_says_so(tmp_path, job, records):
    text = told(write_run(tmp_path, records[:1], job))
    assert "Nothing has been decided yet" in text


def test_a_torn_last_line_is_no_record(tmp_path, job, records):
    whole = told(write_run(tmp_path / "a", records, job))
    torn = told(write_run(tmp_path / "b", records, job, torn='{"event": "decision", "li'))
    assert torn == whole


def test_damaged_decisions_are_told_as_far_as_they_go(tmp_path, job, records):
    at = {key: records[-1][key] for key in ("time", "lineage", "update", "samples")}
    broken = [
        {"event": "decision", **at},
        {"event": "decision", **at, "rule": 3, "global_batch": [1], "limited_by": "x"},
        {"event": "decision", **at, "rule": "n\x1b[2J", "global_batch": [64, None]},
    ]
    text = told(write_run(tmp_path, [*records, *broken], job))
    assert "\x1b" not in text


def test_a_journal_without_records_is_refused(tmp_path, job):
    with pytest.raises(CheckpointError, match="has no journal yet"):
        told(write_run(tmp_path, [], job))


@pytest.mark.parametrize("width", [40, 20])
def test_narrow_terminals_get_narrow_lines_of_decisions(tmp_path, job, records, width):
    text = told(write_run(tmp_path, records, job), width=width)
    assert max(map(len, text.splitlines())) < width


def test_the_command_explains_in_ascii_too(tmp_path, job, records):
    folder = write_run(tmp_path, records, job)
    result = CliRunner().invoke(app, ["explain", str(folder)])
    assert result.exit_code == 0, result.stderr
    assert "batch 50 -> 100" in result.output
    assert told(folder, encoding="ascii")
    assert CliRunner().invoke(app, ["explain", str(tmp_path / "none")]).exit_code == 2


def test_a_learning_rate_that_follows_the_noise_scale_is_told_once(tmp_path):
    job = resolved("schedule.scaling=gain")
    records = journal(job)
    rates = [r for r in records if r["event"] == "decision" and r["rule"] == "rate"]
    assert len(rates) >= 2
    text = told(write_run(tmp_path, records, job))
    assert "the learning rate followed the signals" in text
    assert "rate: the learning rate follows" not in text

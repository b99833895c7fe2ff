"""What another policy would have decided, side by side with what was."""

import io
import re

import pytest
from decided_journal import journal, resolved, resume, write_run
from rich.console import Console
from typer.testing import CliRunner

from absa.errors import ConfigError, MeasurementError
from absa.run_folder import open_run
from cluster.cli import app
from cluster.replaying.compare import compare
from cluster.replaying.draw import draw_replay
from cluster.replaying.findings import changes, told, totals
from cluster.replaying.other import Other

ABS = ("policy.kind=abs", "policy.reference_epochs=0.5", "policy.ratio=null")


@pytest.fixture(scope="module")
def job():
    return resolved()


@pytest.fixture
def folder(tmp_path, job):
    return write_run(tmp_path, journal(job), job)


def compared(folder, *overrides, file=None):
    return compare(open_run(str(folder), "nowhere"), Other(file, overrides))


def other_of(rows, label):
    (found,) = [row.other for row in rows if row.label == label]
    return found


@pytest.mark.parametrize(
    "overrides", [(), ABS, ("policy.kind=clock", "policy.ratio=null"), ("policy.shrinks=true",)]
)
def test_its_own_policy_gives_what_was_recorded(tmp_path, overrides):
    job = resolved(*overrides)
    run = compared(write_run(tmp_path, journal(job), job))
    assert run.own
    assert not run.unlike
    assert len(run.moved) >= 2
    assert all(row.recorded == row.other for row in changes(run))
    assert all(row.recorded == row.other for row in totals(run) if row.label != "undecidable")
    assert told(run) == ["Both decide the same."]


def test_a_resumed_run_gives_what_was_recorded(tmp_path, job):
    records = journal(job)
    whole = compared(write_run(tmp_path / "a", records, job))
    run = compared(write_run(tmp_path / "b", resume(records, at=3000, beyond=5000), job))
    assert not run.unlike
    assert changes(run) == changes(whole)


def test_another_policy_grows_where_it_would_have(folder):
    run = compared(folder, "policy.kind=clock", "policy.every_epochs=2", "policy.factor=4")
    rows = [(row.label, row.other) for row in changes(run) if row.other]
    assert rows == [("2.00", "50 -> 200 clock"), ("4.00", "200 -> 400 clock")]
    assert other_of(totals(run), "last batch") == "400"
    # Two epochs of 20 updates and one more, then of 5, then of 3: the last of 200 is short.
    assert int(other_of(totals(run), "updates")) == 40 + 1 + 10 + 1 + 11
    assert "this is a guess" in told(run)[-1]


def test_a_file_holds_the_section_or_its_content(folder, tmp_path):
    path = tmp_path / "other.yaml"
    found = []
    for content in ("kind: clock\nfactor: 4\n", "policy:\n  kind: clock\n  factor: 4\n"):
        path.write_text(content)
        found.append(changes(compared(folder, file=path)))
    assert found[0] == found[1]
    assert any("clock" in row.other for row in found[0])


def test_a_measurement_that_ended_early_leaves_the_other_policy_undecided(tmp_path, job):
    folder = write_run(tmp_path, journal(job, stopped="not_fallen"), job)
    run = compared(folder, *ABS, "policy.patience_epochs=100")
    points = [step.moment.samples for step in run.steps if step.undecidable]
    assert points
    assert {step.decision.rule for step in run.steps if step.undecidable} == {"undecided"}
    assert other_of(totals(run), "undecidable") == f"{len(points)} of {len(run.steps)} points"
    rows = [row.other for row in changes(run) if row.other.startswith("undecidable")]
    assert sum(int(re.findall(r"\d+", text)[0]) for text in rows) == len(points)
    assert "Undecidable (from epoch" in told(run)[0]
    assert "may be too small as a reference" in " ".join(told(run)[1:])


def test_a_measurement_that_went_to_its_end_leaves_nothing_undecidable(tmp_path, job):
    folder = write_run(tmp_path, journal(job), job)
    run = compared(folder, *ABS)
    assert other_of(totals(run), "undecidable") == "nowhere"


def test_a_run_without_decisions_is_replayed_where_something_was_seen(tmp_path, job):
    records = [r for r in journal(job) if r["event"] != "decision"]
    run = compared(write_run(tmp_path, records, job), "policy.kind=clock")
    assert run.recorded is None
    assert len(run.moved) >= 2
    assert "The run has decided nothing" in told(run)[0]


def test_a_run_that_was_resumed_with_another_policy_is_marked(tmp_path, job):
    clock = resolved("policy.kind=clock", "policy.ratio=null")
    run = compared(write_run(tmp_path, journal(clock), job))
    assert run.unlike
    assert any(text.startswith("Careful: asked again") for text in told(run))


@pytest.mark.parametrize(
    ("content", "overrides", "message"),
    [
        ("kind: clock\nfactr: 3\n", (), "other.yaml:2: policy.factr: unknown key"),
        ("policy: {kind: clock}\nseed: 3\n", (), "other.yaml:2: seed would not be read"),
        ("policy: 3\n", (), "other.yaml:1: policy must be a section"),
        ("- 3\n", (), "other.yaml:1: must be keys with values"),
        ("kind: clock\nfactor: 0.5\n", (), "other.yaml:2: policy.factor"),
        ("warmup: {epochs: 1, to_batch: 9999}\n", (), "to_batch = 9999 must be above"),
        ("kind: clock\n", ("batch.max=4096",), "the training data has 1000 samples"),
        ("kind: clock\n", ("policy.alpha=3",), "alpha = 3.0 is not read where kind = clock"),
        (
            "kind: schedule\n",
            ("schedule.decay={kind: none}",),
            'policy.kind = "schedule" grows the batch where the learning rate would fall',
        ),
    ],
)
def test_a_policy_that_contradicts_itself_or_the_job_is_refused(
    folder, tmp_path, content, overrides, message
):
    path = tmp_path / "other.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=re.escape(message)):
        compared(folder, *overrides, file=path)


def test_the_options_of_the_old_kind_go_with_it(folder):
    assert compared(folder, "policy.kind=clock").other.policy.ratio is None
    assert compared(folder, "policy.kind=hybrid").other.policy.ratio == 1.0


def test_a_run_without_signals_is_refused(tmp_path, job):
    folder = write_run(tmp_path, journal(job)[:1], job)
    with pytest.raises(MeasurementError, match="recorded no signals yet"):
        compared(folder)


@pytest.mark.parametrize("width", [80, 60, 20])
def test_both_stand_side_by_side(folder, width):
    stream = io.StringIO()
    other = Other(None, ("policy.kind=clock",))
    draw_replay(str(folder), other, "nowhere", Console(file=stream, width=width, highlight=False))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) < width
    assert ("instead: clock" in text) == (width > 20)


def test_the_command_replays(folder):
    asked = ["replay", str(folder), "--set", "policy.kind=clock"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.stderr
    assert "50 -> 100 clock" in result.output
    assert CliRunner().invoke(app, [*asked, "--policy", "none.yaml"]).exit_code == 2

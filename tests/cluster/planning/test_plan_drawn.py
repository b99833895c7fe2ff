"""The plan on a terminal and as a page."""

import io
import json
import re
from pathlib import Path

import pytest
from planning_journal import GROWING, journal
from rich.console import Console
from typer.testing import CliRunner

from absa.policy.interval import Interval
from cluster.cli import app
from cluster.planning.draw import draw_plan
from cluster.planning.options import Options
from cluster.planning.text import bar

pytestmark = pytest.mark.cpu_heavy  # each of them fits a model


def drawn(reference, *overrides: str, width: int = 80, encoding: str = "utf-8") -> tuple[str, str]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    path = draw_plan(str(reference), Options(overrides, 16), "nowhere", console)
    stream.flush()
    return path, raw.getvalue().decode(encoding)


def test_a_run_becomes_a_page_and_some_lines(write_run):
    folder = write_run(journal(GROWING))
    path, text = drawn(folder, "workers.price_per_hour=2")
    assert path == f"{folder}/plan.html"
    assert max(map(len, text.splitlines())) < 80
    page = Path(path).read_text("utf-8")
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])
    for chart in data["charts"]:
        values = chart["x"]["values"]
        assert values == sorted(values)
        assert all(len(one["values"]) == len(values) for one in chart["series"])
        assert len(chart["x"]["marks"]) == len(values)
    workers = data["charts"][1]["x"]["values"]
    for num in workers:
        assert f"--set workers.max={num:.0f}" in text
        assert f"--set workers.max={num:.0f}" in page
    assert "$" not in re.sub(r"<script>.*?</script>|<style>.*?</style>", "", page, flags=re.S)


def test_without_a_price_the_cost_is_in_worker_hours(write_run):
    _, text = drawn(write_run(journal(GROWING)))
    assert "worker-hours" in text
    assert "money" not in text


def test_a_price_multiplies_the_worker_hours(write_run):
    folder = write_run(journal(GROWING))
    _, hours = drawn(folder)
    _, money = drawn(folder, "workers.price_per_hour=1000")
    cost = {text: float(re.search(r"cheapest.*worker, (\S+) ", text)[1]) for text in (hours, money)}
    assert cost[money] == pytest.approx(1000 * cost[hours], rel=0.01)


def test_the_plan_of_a_job_lies_beside_its_runs(write_run, write_job, tmp_path):
    write_run(journal(GROWING))
    path, text = drawn(write_job())
    assert path == f"{tmp_path}/runs/known-plan.html"
    assert text.startswith("known\n")


@pytest.mark.parametrize("width", [40, 20])
def test_narrow_terminals_get_narrow_lines(write_run, width):
    _, text = drawn(write_run(journal(GROWING)), width=width)
    assert max(map(len, text.splitlines())) < width


def test_a_terminal_without_line_drawing_gets_ascii(write_run):
    drawn(write_run(journal(GROWING)), encoding="ascii")


def test_bars_lie_where_their_numbers_do():
    assert bar(Interval(1, 10, 100), (1, 100), 21, "|-o|") == "|---------o---------|"
    assert bar(Interval(1, 1, 1), (1, 100), 5, "|-o|") == "o    "
    assert bar(Interval(5, 5, 5), (5, 5), 5, "|-o|") == "  o  "


def test_the_command_prints_the_choices(write_run):
    folder = write_run(journal(GROWING))
    result = CliRunner().invoke(app, ["plan", str(folder), "--floor", "0.2"])
    assert result.exit_code == 0
    assert "workers that pay" in result.output
    assert f"page  {folder}/plan.html" in result.output


def test_the_command_says_what_is_missing(write_job):
    result = CliRunner().invoke(app, ["plan", str(write_job())])
    assert result.exit_code == 1
    assert "--set stop.updates=200" in " ".join(result.stderr.split())

"""What the README shows is true: its code runs, its jobs are valid, its tables are complete."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.cli import app
from cluster.exit_code import MEANINGS
from cluster.job_rules import resolve
from cluster.load_job import load_job

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


TASK, LOOP, SIGNALS, POLICY = blocks("python")
FIRST_JOB, OWN_JOB = blocks("yaml")


def run(code: str, *arguments: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "ABSA_DATA": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_job_is_valid(tmp_path):
    (tmp_path / "job.yaml").write_text(FIRST_JOB)
    assert resolve(load_job(tmp_path / "job.yaml")).workers.min == 2


@pytest.mark.cpu_heavy
def test_the_own_model_trains_and_resumes_without_ray(tmp_path):
    (tmp_path / "sine.py").write_text(TASK)
    (tmp_path / "job.yaml").write_text(OWN_JOB)
    absa = "import sys; sys.modules['ray'] = None; import absa_command; absa_command.main()"
    small = ["--set", "workers.threads=1"]

    printed = run(absa, "train", "job.yaml", "--local", *small, cwd=tmp_path)

    assert "sine: all epochs done" in printed
    resumed = ["train", "--resume", "latest", "--local", "--set", "stop.epochs=6"]
    assert "(6.0 epochs)" in run(absa, *resumed, cwd=tmp_path)


def test_the_loop_of_ones_own_runs():
    names = {}
    exec(LOOP, names)
    assert names["optimizer"].state


def test_the_signals_of_ones_own_loop_are_measured():
    names = {}
    exec(SIGNALS, names)
    assert names["found"].lower <= names["found"].upper
    assert names["window"].scales(names["average"]).whole.lower >= 0


def test_the_policy_of_ones_own_loop_decides():
    names = {}
    exec(POLICY, names)
    assert names["decision"].after.batch == 128


def test_every_command_is_in_the_table_and_every_one_shown_exists():
    commands = {command.callback.__name__ for command in app.registered_commands}
    assert set(re.findall(r"^\| `absa (\w+)", README, re.MULTILINE)) == commands
    assert set(re.findall(r"`absa (\w+)", README)) - commands == {"submit"}  # named as to come


def test_every_exit_code_is_in_the_table_with_its_meaning():
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", README, re.MULTILINE)
    assert rows == [(str(code.value), text) for code, text in MEANINGS.items()]


def test_every_make_target_shown_exists():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = README + (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert set(re.findall(r"(?:^|`)make ([\w-]+)", texts, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "DESIGN.md"])
def test_every_link_leads_to_a_file(page):
    text = (ROOT / page).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert not [link for link in links if not (ROOT / link).exists()]

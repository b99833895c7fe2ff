"""The plan's page in a real browser."""

import shutil
import subprocess
from pathlib import Path

import pytest
from planning_journal import GROWING, journal

from cluster.planning.find import plan_of
from cluster.planning.options import Options
from cluster.planning.page import make_page

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


def open_page(path: Path, profile: Path) -> tuple[str, str]:
    """The document after its scripts ran, and what the browser logged."""
    quiet = (
        "--disable-background-networking --disable-component-update --disable-sync --no-first-run"
    )
    done = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", *quiet.split()),
            *(f"--user-data-dir={profile}", "--enable-logging=stderr"),
            *("--virtual-time-budget=2000", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.parametrize("windows", [GROWING, [(64, 1)]])
def test_both_curves_are_drawn_without_an_error(write_run, tmp_path, windows):
    plan = plan_of(str(write_run(journal(windows))), Options(), "nowhere")
    path = tmp_path / "plan.html"
    path.write_text(make_page(plan), "utf-8")
    document, logged = open_page(path, tmp_path / "profile")
    assert logged == ""
    assert document.count('class="uplot ') == 2

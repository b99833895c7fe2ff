"""The spectrum's page in a real browser, beside the run's curves and alone."""

import shutil
import subprocess
from pathlib import Path

import pytest

from absa.journal import read_journal
from cluster.report.run_files import write_page
from cluster.spectrum.measure import measure
from cluster.spectrum.options import Options
from cluster.spectrum.page import make_page

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


@pytest.mark.parametrize("measured_while_training", [True, False])
def test_every_curve_is_drawn_without_an_error(run, restore, tmp_path, measured_while_training):
    restored = restore()
    spectrum = measure(restored, Options(starts=2, steps=12), lambda text: None)
    records = read_journal(run.storage) if measured_while_training else []
    page = make_page(restored, spectrum, records)

    dom, log = open_page(Path(write_page(tmp_path, page, "x.html")), tmp_path / "profile")

    assert log == ""
    num_charts = page.count('class="plot"')
    assert num_charts >= 1 + measured_while_training
    assert f'data-drawn="{num_charts}"' in dom
    # The key of the marks is a canvas too; the curves of the run bring theirs.
    assert dom.count("<canvas") >= num_charts + 1

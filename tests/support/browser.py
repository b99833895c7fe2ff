"""A real browser, for the pages that we write."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

in_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
"""Marks of a module whose tests open pages."""


def open_page(path: Path, profile: Path, timeout_s: float = 60) -> tuple[str, str]:
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
        timeout=timeout_s,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)

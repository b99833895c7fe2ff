"""The wheel has everything: it is built, unpacked and used away from the sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("absa", "cluster", "absa_command.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE")

pytestmark = pytest.mark.cpu_heavy


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the wheel was installed into, without what it depends on."""
    sources, wheels, target = map(tmp_path_factory.mktemp, ("sources", "wheels", "installed"))
    for name in SOURCES:
        # A copy, so that the build leaves nothing in the repository.
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, sources / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, sources / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(sources)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = wheels.glob("absa-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return target


def run(installed: Path, cwd: Path, *arguments: str) -> str:
    """Run the installed `absa` script; its packages come from the wheel."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, str(installed / "bin" / "absa"), *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_file_of_the_packages_is_in_the_wheel(installed):
    for package in ("absa", "cluster"):
        ours = {f.relative_to(ROOT) for f in (ROOT / package).rglob("*") if f.is_file()}
        there = {f.relative_to(installed) for f in (installed / package).rglob("*")}
        assert not {f for f in ours - there if "__pycache__" not in f.parts}
    assert not (installed / "tests").exists()
    (metadata,) = installed.glob("absa-*.dist-info")
    assert {f.name for f in (metadata / "licenses").iterdir()} == {"LICENSE", "NOTICE"}


def test_the_command_trains_exports_and_reports_from_the_wheel(installed, tmp_path):
    assert "Exit codes:" in run(installed, tmp_path, "train", "--help")

    run(installed, tmp_path, "new", "mine")
    resolved = yaml.safe_load(run(installed, tmp_path, "validate", "mine/job.yaml"))
    assert resolved["task"]["use"] == "mine.task:TwoMoons"

    short = ("--set", "stop.epochs=1", "--set", "schedule.warmup.kind=none")
    run(installed, tmp_path, "train", "--local", *short)
    (folder,) = (tmp_path / "runs").iterdir()
    assert "uPlot" in (folder / "report.html").read_text("utf-8")
    exported = Path(run(installed, tmp_path, "export", "latest").strip())
    assert exported.name == "weights.safetensors"
    assert exported.stat().st_size > 0

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(
    *arguments: str, cwd: Path, path: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("file", ["cluster/__init__.py", "cluster.py", "absa/__init__.py"])
def test_a_package_in_the_way_gets_one_clear_error(tmp_path, file):
    other = tmp_path / file
    other.parent.mkdir(exist_ok=True)
    other.write_text("")

    result = run("-m", "absa_command", "--version", cwd=ROOT.parent, path=(tmp_path,))

    assert result.returncode == 2
    name = Path(file).parts[0]
    assert result.stderr.startswith(f"error: {tmp_path / name} stands in the way of absa's own")
    assert f"take {tmp_path} out of PYTHONPATH" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_package_in_the_current_folder_is_found_too(tmp_path):
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "__init__.py").write_text("raise SystemExit('theirs')")

    result = run("-m", "absa_command", "train", cwd=tmp_path)

    assert result.returncode == 2
    assert f"{tmp_path / 'cluster'} stands in the way" in result.stderr


def test_a_folder_that_is_no_package_is_no_obstacle(tmp_path):
    (tmp_path / "cluster").mkdir()

    assert run("-m", "absa_command", "--version", cwd=tmp_path).returncode == 0


def test_validate_runs_without_loading_torch_or_ray(tmp_path):
    (tmp_path / "job.yaml").write_text("seed: 1")
    code = (
        "import sys, absa_command\n"
        "try:\n    absa_command.main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'ray', 'sklearn', 'numpy'} & sys.modules.keys()\n"
    )

    result = run("-c", code, "validate", "job.yaml", cwd=tmp_path)

    assert result.returncode == 0, result.stderr
    assert "seed: 1" in result.stdout


def test_python_m_cluster_is_the_same_command(tmp_path):
    result = run("-m", "cluster", "train", "--set", "seed=x", cwd=tmp_path)

    assert result.returncode == 2
    assert result.stderr.startswith("error: --set seed=x: seed must be an integer at least 0")
    assert "Traceback" not in result.stderr

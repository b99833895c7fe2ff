"""What is imported is declared, what is declared is imported, and the tested set pins all of it."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"absa", "absa_command", "benchmarks", "cluster"}
OURS |= {file.stem for file in (ROOT / "tests").rglob("*.py")}
TOOLS = {"import-linter", "moto", "mypy", "ruff", "setuptools", "types-psutil", "types-pyyaml"}
TOOLS |= {"pyhessian", "pytest-xdist"}
"""Run by the Makefile, in a process of their own or loaded by name, not imported by a test."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {canonical(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}


RUNTIME = declared(PROJECT["dependencies"])
DEV, BENCHMARKS = (
    declared(PROJECT["optional-dependencies"][extra]) for extra in ("dev", "benchmarks")
)


def imported(*places: str) -> set[str]:
    """Return the distributions that the Python files below the places import."""
    files = [f for place in places for f in [ROOT / place, *(ROOT / place).rglob("*.py")]]
    modules = {
        name.partition(".")[0]
        for file in files
        if file.is_file()
        for node in ast.walk(ast.parse(file.read_text()))
        for name in _names(node)
    }
    known = packages_distributions()
    foreign = modules - OURS - sys.stdlib_module_names
    return {canonical(known.get(module, [f"(none has {module})"])[0]) for module in foreign}


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []


@pytest.mark.cpu_heavy
def test_the_packages_need_exactly_what_is_declared():
    assert imported("absa", "cluster", "absa_command.py") == RUNTIME


def test_benchmarks_need_no_more_than_is_declared():
    found = imported("benchmarks")
    assert found <= RUNTIME | BENCHMARKS
    assert found >= BENCHMARKS


@pytest.mark.cpu_heavy
def test_tests_need_no_more_than_is_declared():
    found = imported("tests")
    assert found <= RUNTIME | DEV | BENCHMARKS
    assert found | TOOLS >= DEV


def test_the_tested_set_pins_every_requirement():
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )  # fmt: skip
    assert {canonical(name) for name in pins} >= RUNTIME | DEV | BENCHMARKS
    # A local part would name one machine's build.
    assert not [version for version in pins.values() if "+" in version]
    assert (pins["torch"], pins["ray"]) == ("2.13.0", "2.60.0")


@pytest.mark.parametrize("name", ["torch", "ray"])
def test_large_requirements_are_ranges_in_the_project(name):
    (requirement,) = (r for r in PROJECT["dependencies"] if re.match(rf"{name}\b", r))
    assert ">=" in requirement
    assert "==" not in requirement

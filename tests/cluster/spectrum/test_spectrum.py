"""From a run to its spectrum: which checkpoint is meant, what is measured, what is written."""

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from absa.checkpoint import checkpoint_names
from absa.collective import ALONE
from absa.curvature.density import GaussRule, SpectralDensity
from absa.curvature.hessian import Hessian
from absa.curvature.probe import problem_of
from absa.curvature.trace import TraceEstimate
from absa.errors import CheckpointError, ConfigError
from absa.run_folder import new_run, write_job
from cluster.spectrum.draw import draw_spectrum
from cluster.spectrum.findings import findings, outliers
from cluster.spectrum.measure import Spectrum, _probe, measure
from cluster.spectrum.options import Options
from cluster.spectrum.page import bulk, make_page, whole
from cluster.spectrum.restored import find
from cluster.spectrum.text import SpectrumText

QUICK = Options(starts=2, steps=12)


def ignore(text: str) -> None:
    """Say nothing."""


def printed(restored, spectrum, *, width: int = 80, encoding: str = "utf-8") -> list[str]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    Console(file=stream, width=width, highlight=False, markup=False, emoji=False).print(
        SpectrumText(restored, spectrum)
    )
    stream.flush()
    return raw.getvalue().decode(encoding).splitlines()


def unlucky() -> Spectrum:
    """The starts hardly see the largest eigenvalue."""
    nodes = np.array([-1.0, 0.0, 1.0, 9.0])
    rule = GaussRule(nodes, np.array([0.2, 0.6, 0.2 - 1e-12, 1e-12]), np.array([0.1, 0.1, 0.1, 0]))
    return Spectrum(SpectralDensity((rule,), 1000, 4), TraceEstimate(0.0, 0.0, 16), 8, 0.1)


def one_peak() -> Spectrum:
    rule = GaussRule(np.zeros(1), np.ones(1), np.zeros(1))
    return Spectrum(SpectralDensity((rule,), 50, 12), TraceEstimate(0.0, 0.0, 16), 8, 0.1)


def test_a_run_becomes_a_page_and_some_lines(run, storage):
    out, told = io.StringIO(), []
    console = Console(file=out, width=80, highlight=False, markup=False, emoji=False)

    path = draw_spectrum("latest", QUICK, storage, console, told.append)

    page = Path(path).read_text("utf-8")
    assert path == f"{run.location}/spectrum.html"
    assert re.fullmatch(
        r"40 products with the Hessian of 8 samples: about .*, .*B of vectors", *told
    )
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])
    *densities, over_training = data["charts"]
    assert densities[0]["scale"] == "log"
    assert len(densities[0]["x"]["values"]) == len(densities[0]["series"][0]["values"])
    assert min(densities[0]["series"][0]["values"]) > 0
    assert over_training["title"] == "Largest eigenvalue of the Hessian"
    assert len(over_training["samples"]) == 2
    lines = out.getvalue().splitlines()
    assert "largest eigenvalue" in out.getvalue()
    assert max(map(len, lines)) < 80
    assert "$" not in re.sub(r"<script>.*?</script>|<style>.*?</style>", "", page, flags=re.S)


def test_what_is_measured_is_the_hessian_of_the_checkpoint_on_the_runs_samples(restore):
    restored = restore()
    spectrum = measure(restored, replace(QUICK, steps=60), ignore)
    with Hessian(problem_of(_probe(restored, QUICK), restored.replica, ALONE)) as operator:
        dense = torch.stack([operator.product(row) for row in torch.eye(operator.dim)])
    eigenvalues = torch.linalg.eigvalsh(dense.double())

    assert spectrum.num_samples == 8
    low, high = spectrum.density.range
    assert (low, high) == pytest.approx((float(eigenvalues[0]), float(eigenvalues[-1])), rel=1e-3)
    assert abs(spectrum.trace.value - float(eigenvalues.sum())) < 4 * spectrum.trace.standard_error


def test_more_samples_than_the_training_set_has_are_all_of_it(restore):
    restored = restore()
    probe = _probe(restored, replace(QUICK, samples=10**6))
    assert len(probe.indices) == len(restored.replica.train)
    assert probe.micro_batch == 128


def test_a_checkpoint_is_found_by_its_path_or_its_name(run, storage):
    name = checkpoint_names(run.checkpoints)[-1]
    path = f"{run.location}/checkpoints/{name}"
    assert find(path, None, "nowhere") == find(f"{path}/", None, "nowhere")
    assert find(path, None, "nowhere")[0].location == run.location
    for wanted in (name, "newest", "best", None):
        assert find("latest", wanted, storage)[1] == name


def test_a_checkpoint_that_is_named_twice_is_refused(run):
    path = f"{run.location}/checkpoints/update-00000001"
    with pytest.raises(ConfigError, match="leave one out"):
        find(path, "best", "nowhere")


def test_a_checkpoint_that_is_not_there_is_refused_with_what_is(run, storage):
    (name,) = checkpoint_names(run.checkpoints)
    console = Console(file=io.StringIO())
    with pytest.raises(CheckpointError, match=f"Use an older one: {name}"):
        draw_spectrum("latest", replace(QUICK, checkpoint="best-of"), storage, console, ignore)


def test_a_run_without_a_checkpoint_is_refused(tmp_path):
    folder = new_run(str(tmp_path), "run")
    write_job(folder, "name: run\n")
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        find(folder.location, None, "nowhere")


def test_wrong_options_are_told_together_before_anything_is_read():
    options = Options(samples=0, starts=0, steps=10**6)
    with pytest.raises(ConfigError) as caught:
        draw_spectrum("nothing", options, "nowhere", Console(file=io.StringIO()), ignore)
    assert str(caught.value).splitlines() == [
        "3 wrong options",
        "- --samples is 0; it must be 1 or more",
        "- --starts is 0; it must be 1 to 100",
        "- --steps is 1000000; it must be 1 to 1000",
    ]


def test_a_model_without_curvature_is_refused_with_the_reason(restore):
    restored = restore()
    restored.replica.model.requires_grad_(False)
    with pytest.raises(ConfigError, match=r"cannot be measured: .*trainable parameters are none"):
        measure(restored, QUICK, ignore)


def test_a_checkpoint_that_is_not_finite_is_refused(restore):
    restored = restore()
    with torch.no_grad():
        restored.replica.parameters[0].fill_(math.nan)
    with pytest.raises(CheckpointError, match="not finite; give an older one with --checkpoint"):
        measure(restored, QUICK, ignore)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_lines_stay_within_the_terminal_and_plain_where_nothing_else_can_be_shown(restore, width):
    restored = restore()
    spectrum = measure(restored, QUICK, ignore)

    shown = printed(restored, spectrum, width=width)
    plain = printed(restored, spectrum, width=width, encoding="ascii")

    assert max(map(len, shown)) < width
    assert max(map(len, plain)) < width
    assert any("█" in line for line in shown)
    assert any("##" in line for line in plain)


def test_an_eigenvalue_that_the_starts_hardly_see_is_on_the_page():
    view = whole(unlucky())

    assert view.grid[0] < -1
    assert view.grid[-1] > 9
    assert view.peaks[-1] == (9.0, 1)
    assert [value for value, _ in bulk(unlucky()).peaks] == [-1.0, 0.0, 1.0]
    assert outliers(unlucky()) == 1


def test_eigenvalues_that_are_all_zero_are_a_peak(restore):
    restored, spectrum = restore(), one_peak()

    values = {found.label: found.value for found in findings(spectrum)}

    assert values["near zero"] == "100 %"
    assert values["negative"] == values["positive"] == "0 %"
    assert any("█" in line for line in printed(restored, spectrum))
    assert "Spectral density" in make_page(restored, spectrum, [])

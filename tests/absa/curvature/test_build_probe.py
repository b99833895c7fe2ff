"""What a job's ``curvature`` section makes a run measure with."""

import sys

import pytest
import torch

from absa.curvature.build import build_probe
from absa.curvature.config import CurvatureConfig
from absa.errors import ConfigError

CPU = torch.device("cpu")


def probe(micro_batch=8, **values):
    return build_probe(CurvatureConfig(**values), 0, 100, CPU, micro_batch)


def test_an_interval_of_null_measures_nothing():
    assert probe(every_epochs=None) is None


def test_no_more_samples_go_through_at_once_than_in_training():
    assert probe(micro_batch=4).micro_batch == 4
    assert probe(micro_batch=4, micro=16).micro_batch == 16


@pytest.mark.parametrize("operator", ["hessian", "hessian_forward", "gauss_newton"])
def test_every_operator_can_be_asked_for(operator):
    assert probe(operator=operator).tracker.operator is not None


def test_a_backend_that_is_not_installed_is_refused_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyhessian", None)
    with pytest.raises(ConfigError, match="pip install pyhessian"):
        probe(backend="pyhessian")

"""What ``import absa`` gives and costs."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import absa
from absa import LARS, ConfigError, GhostBatchNorm, convert_batch_norm


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_listed():
    for name in absa.__all__:
        assert getattr(absa, name).__name__ == name
    assert set(absa.__all__) <= set(dir(absa))
    assert absa.__all__ == sorted(absa.__all__, key=lambda name: (not name.isupper(), name))


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'absa' has no attribute 'LARZ'"):
        absa.LARZ  # noqa: B018


def test_importing_absa_loads_nothing_large():
    run("import sys, absa\nassert not {'torch', 'ray', 'numpy', 'pydantic'} & sys.modules.keys()")


def test_schedules_orders_and_errors_need_no_torch():
    run(
        "import sys\n"
        "from absa import ConfigError, ModelConfig, SampleOrder, ScheduleConfig, learning_rate\n"
        "assert not {'torch', 'ray'} & sys.modules.keys()"
    )


def test_researchers_get_along_without_ray():
    run(
        "import sys\n"
        "sys.modules['ray'] = None\n"
        "from absa import *\n"
        "assert 'torch' in sys.modules and 'cluster' not in sys.modules"
    )


def test_lars_and_ghost_batch_norm_work_in_a_plain_loop():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    model = convert_batch_norm(model, group=16)
    assert isinstance(model[1], GhostBatchNorm)
    optimizer = LARS(model.parameters(), lr=10.0)
    inputs = torch.randn(64, 4)
    labels = (inputs[:, 0] > 0).long()
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(ConfigError):
        convert_batch_norm(model, group=0)

"""What is particular to this way; its products: `test_hessian_products.py`."""

import os
import subprocess
import sys
from pathlib import Path

import curvature_problems
import pytest
import torch
from curvature_problems import Tied, make_problem

from absa.curvature.functional import functional


def test_given_parameters_stand_in_everywhere_and_go_again():
    problem = make_problem("tied")
    (batch,), model = problem.passes, problem.model
    before = [(name, id(p)) for name, p in model.named_parameters(remove_duplicate=False)]
    other = Tied().double()
    expected = problem.losses(other, batch).sum()

    loss = functional(model, problem.losses)
    found = loss(list(other.parameters()), batch, None)

    torch.testing.assert_close(found, expected)
    assert [(n, id(p)) for n, p in model.named_parameters(remove_duplicate=False)] == before


@pytest.mark.soak
def test_compiled_products_are_the_same_and_compiled_once_for_each_size():
    script = Path(curvature_problems.__file__).with_name("compiled_products.py")
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

"""Compares compiled products with exact ones, in a process whose functions are not shape-checked.

The checks that `tests/conftest.py` puts around functions cannot be traced by `torch.compile`.
"""

from dataclasses import replace

import torch
from curvature_problems import cut, make_problem
from torch._dynamo.utils import counters

from absa.curvature.forward_over_reverse import HessianForward
from absa.curvature.hessian import Hessian

if __name__ == "__main__":
    torch.set_num_threads(1)
    problem = replace(make_problem("perceptron"), weights=lambda batch: batch["weight"])
    for _ in range(2):
        with torch.no_grad():
            next(problem.model.parameters()).mul_(1.1)
        for each in (problem, cut(problem, 2)):
            with HessianForward(each, "compiled") as compiled, Hessian(each) as exact:
                vector = torch.linspace(-1, 1, exact.dim, dtype=exact.dtype)
                torch.testing.assert_close(compiled.product(vector), exact.product(vector))
    assert counters["stats"]["unique_graphs"] == 3, counters
    assert not counters["graph_break"], counters

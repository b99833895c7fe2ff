"""A task of the user's own, from the folder that they stand in, on two workers."""

import pytest

pytestmark = pytest.mark.ray

TASK = """
import torch
import torch.nn.functional as F
from absa.task import Datasets
from torch.utils.data import TensorDataset


class Breaks:
    calls = 0

    def build_model(self):
        return torch.nn.Linear(2, 2)

    def datasets(self):
        data = TensorDataset(torch.randn(500, 2), torch.randint(0, 2, (500,)))
        return Datasets(train=data, evaluation=data)

    def losses(self, model, batch):
        print("the task prints")
        Breaks.calls += 1
        if Breaks.calls > 40:
            raise KeyError("only now")
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none")

    def metrics(self, model, batch):
        return {"accuracy": torch.tensor(0.0), "count": torch.tensor(float(len(batch[0])))}
"""

JOB = """
name: breaks
task: {use: "mine:Breaks"}
batch: {initial: 10}
optimizer: {name: sgd, lr: 0.01}
schedule: {reference_batch: 10, warmup: {kind: none}}
workers: {min: 2, threads: 1}
stop: {epochs: 2}
"""


def test_an_error_of_the_task_ends_the_run_with_its_traceback_and_no_restart(train, tmp_path):
    (tmp_path / "mine.py").write_text(TASK)
    (tmp_path / "job.yaml").write_text(JOB)

    run = train("job.yaml")

    assert run.finish() == 3
    (error,) = run.of("error")
    assert "KeyError: 'only now'" in error["message"]
    assert f'File "{tmp_path}/mine.py"' in error["message"]
    assert "/absa/" not in error["message"]
    assert len(run.of("run_started")) == 1
    assert run.of("fault") == []
    assert run.of("run_folder")[0]["report"] is not None

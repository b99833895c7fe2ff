"""A task's contract, checked on one batch."""

import pytest
import torch
from torch import nn

from absa.errors import TaskError
from absa.tasks.check import check_task


class _Task:
    """Keeps the contract; a test replaces what it breaks."""

    def __init__(self, losses=None, metrics=None):
        self._losses, self._metrics = losses, metrics

    def build_model(self):
        return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))

    def datasets(self): ...

    def losses(self, model, batch):
        out = model(batch["x"]).square().sum(dim=1)
        return out if self._losses is None else self._losses(out)

    def metrics(self, model, batch):
        good = {"accuracy": torch.tensor(3), "count": torch.tensor(5)}
        return good if self._metrics is None else self._metrics(good)


_BATCH = {"x": torch.ones(5, 3), "more": [torch.zeros(5), (torch.zeros(5, 2), "text")]}


def _check(task):
    return check_task(task, task.build_model(), _BATCH)


def test_a_task_that_keeps_its_contract_passes_and_names_its_metrics():
    assert _check(_Task()) == ("accuracy",)


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (lambda out: out.mean(), r"float32 of shape \(\) for 5 samples.* not a mean or sum"),
        (lambda out: out[:, None], r"shape \(5, 1\)"),
        (lambda out: out[:4], r"shape \(4,\)"),
        (lambda out: out.long(), "int64"),
        (lambda out: out.tolist(), "a list; it must"),
        (lambda out: out.detach(), "does not depend on the model"),
        (lambda out: out / torch.tensor([1, 1, 0, 0, 1.0]) + 1e38 * 1e38, "5 of 5 losses"),
        (lambda out: out + torch.tensor([0, 0, torch.nan, torch.inf, 0]), "2 of 5 .* sample 2"),
    ],
)
def test_losses_must_be_one_finite_number_per_sample(losses, said):
    with pytest.raises(TaskError, match=f"task.losses returned .*{said}"):
        _check(_Task(losses))


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (lambda good: list(good), "a list; it must be a mapping"),
        (lambda good: {"accuracy": good["accuracy"]}, r"\['accuracy'\] without \"count\""),
        (lambda good: {**good, "loss": 0.5}, "float under 'loss'"),
        (lambda good: {**good, "loss": torch.zeros(5)}, r"\(5,\) under 'loss'"),
        (lambda good: {**good, "loss": torch.tensor(torch.nan)}, "nan under 'loss'"),
        (lambda good: {**good, "count": torch.tensor(0)}, '"count" 0'),
    ],
)
def test_metrics_must_be_sums_with_a_count(metrics, said):
    with pytest.raises(TaskError, match=f"task.metrics returned .*{said}"):
        _check(_Task(metrics=metrics))


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (torch.ones(4), r"shape \(4,\)"),
        (torch.ones(5, dtype=torch.int64), "int64"),
        (torch.tensor([1, 1, 1, 1, -1.0]), "from -1"),
        (torch.tensor([1, 1, 1, 1, torch.nan]), "nan"),
        (torch.zeros(5), "not all zero"),
    ],
)
def test_weights_must_be_one_per_sample(weights, said):
    task = _Task()
    task.weights = lambda batch: weights
    with pytest.raises(TaskError, match=f"task.weights returned .*{said}"):
        _check(task)


def test_a_model_must_have_something_to_train():
    frozen = nn.Linear(3, 2).requires_grad_(False)
    for model in (nn.ReLU(), frozen, nn.PReLU(0)):
        with pytest.raises(TaskError, match=f"{type(model).__name__} without trainable"):
            check_task(_Task(), model, _BATCH)
    with pytest.raises(TaskError, match="returned a int"):
        check_task(_Task(), 3, _BATCH)


@pytest.mark.parametrize(
    "batch",
    [{"x": torch.ones(5, 3), "y": torch.ones(4)}, {"x": torch.tensor(1.0)}, {"x": "text"}],
)
def test_a_batch_must_have_samples_first(batch):
    with pytest.raises(TaskError, match="first dimension"):
        check_task(_Task(), _Task().build_model(), batch)


def test_the_model_and_the_random_state_are_left_as_they_were():
    task = _Task(losses=lambda out: out + torch.rand(5))
    model = task.build_model()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    check_task(task, model, _BATCH)
    assert [m.training for m in model.modules()] == [True, True, False, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())


def test_inputs_that_can_be_perturbed_are_checked():
    class _Attacked(_Task):
        def adversarial_inputs(self, batch):
            return batch["x"]

    with pytest.raises(TaskError, match=r"adversarial_inputs returned a Tensor; it must return"):
        _check(_Attacked())

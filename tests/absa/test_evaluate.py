import pytest
import torch
import torch.nn.functional as F
from engine import (
    NUM_CLASSES,
    WIDTH,
    Classify,
    Points,
    dropout_network,
    make_replica,
    run_ranks,
    same_bits,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from absa.collective import SingleProcess
from absa.errors import TaskError
from absa.evaluate import evaluate

NAMES = ("accuracy", "loss")


def judged(task, source, *, model=None, batch=4, collective=None, names=NAMES):
    model = model or nn.Linear(WIDTH, NUM_CLASSES)
    return evaluate(task, model, source, names, batch, collective or SingleProcess())


@settings(max_examples=15)
@given(length=st.integers(1, 12), batch=st.integers(1, 5), ranks=st.integers(1, 4))
def test_metrics_are_those_of_the_whole_set_for_any_cut(length, batch, ranks):
    """More ranks than samples included."""
    source, model = Points(length), nn.Linear(WIDTH, NUM_CLASSES)
    with torch.no_grad():
        logits = model(source.x)
    expected = {
        "accuracy": (logits.argmax(1) == source.y).double().mean().item(),
        "loss": F.cross_entropy(logits, source.y).item(),
    }
    found = run_ranks(
        ranks, lambda c: judged(Classify(source), source, model=model, batch=batch, collective=c)
    )
    assert all(each == found[0] for each in found)
    assert found[0] == pytest.approx(expected, rel=1e-5)


def test_sums_are_taken_in_float64():
    class Large(Classify):
        def metrics(self, model, batch):
            return {"accuracy": torch.tensor(1.0), "loss": torch.tensor(2**24), "count": 1}

    points = Points(3)
    assert judged(Large(points), points, batch=1)["loss"] == 2**24
    values = iter([2.0**24, 1.0, 1.0])

    class Growing(Classify):
        def metrics(self, model, batch):
            return {"accuracy": 0, "loss": torch.tensor([next(values)]), "count": 1}

    assert judged(Growing(points), points, batch=1)["loss"] * 3 == 2**24 + 2


def test_the_model_is_judged_in_evaluation_mode_and_left_as_it_was():
    task = Classify(Points(12), dropout_network)
    replica = make_replica(task, bn_group=2)
    replica.model[0].eval()  # a part that its owner froze
    modes = [module.training for module in replica.model.modules()]
    before = {n: t.clone() for n, t in replica.model.state_dict().items()}
    for parameter in replica.parameters:
        parameter.grad = torch.ones_like(parameter)
    random_state = torch.get_rng_state()
    first = judged(task, task.source, model=replica.model)
    assert first == pytest.approx(judged(task, task.source, model=replica.model, batch=5))
    assert [module.training for module in replica.model.modules()] == modes
    same_bits(before, dict(replica.model.state_dict()))
    assert all(bool((p.grad == 1).all()) for p in replica.parameters)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_the_mode_is_put_back_when_the_task_fails():
    class Fails(Classify):
        def metrics(self, model, batch):
            assert not model.training
            raise RuntimeError("no")

    model, points = nn.Linear(WIDTH, NUM_CLASSES), Points(3)
    with pytest.raises(RuntimeError, match="no"):
        judged(Fails(points), points, model=model)
    assert model.training


def test_no_sample_is_augmented():
    points = Points(5, noise=1.0)
    judged(Classify(points), points)
    assert points.fetched == []  # which lists what was fetched with keys


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (
            {"accuracy": torch.ones(()), "count": torch.ones(())},
            r"returned \['accuracy', 'count'\]",
        ),
        (
            {"accuracy": torch.ones(()), "loss": torch.ones(2), "count": torch.ones(())},
            r"shape \(2,\) under 'loss'.*one number",
        ),
        (dict.fromkeys([*NAMES, "count"], torch.zeros(())), "counted no sample"),
    ],
)
def test_metrics_that_break_the_contract_get_a_message(metrics, message):
    class Wrong(Classify):
        def metrics(self, model, batch):
            return metrics

    points = Points(3)
    with pytest.raises(TaskError, match=message):
        judged(Wrong(points), points)

"""The built-in task on the digits."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from absa.data.config import DataConfig
from absa.data.map_style import as_source
from absa.models.config import ModelConfig
from absa.order import SampleOrder
from absa.tasks.check import check_task
from absa.tasks.image_classification import ImageClassification


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


@pytest.fixture
def make_task():
    def make(**data):
        return ImageClassification(data=DataConfig(**data), model=ModelConfig(), seed=0)

    return make


def _batch(task, num=12):
    source = as_source(task.datasets().train)
    keys = SampleOrder(0, len(source)).keys(0, 0, num)
    return source.transform(source.fetch(np.arange(num), keys))


def test_it_keeps_the_contract_of_a_task(make_task, model):
    task = make_task(crop_padding=1, flip=True)
    assert check_task(task, model, _batch(task)) == ("accuracy", "loss")


def test_losses_are_cross_entropies(make_task, model):
    batch = _batch(make_task())
    log_shares = model(batch["image"]).log_softmax(dim=1)
    slow = torch.stack([-row[label] for row, label in zip(log_shares, batch["label"], strict=True)])
    torch.testing.assert_close(make_task().losses(model, batch), slow)


def test_label_smoothing_is_for_training_only(make_task, model):
    plain, smooth = make_task(), make_task(label_smoothing=0.1)
    batch = _batch(plain)
    uniform = -model(batch["image"]).log_softmax(dim=1).mean(dim=1)
    expected = 0.9 * plain.losses(model, batch) + 0.1 * uniform
    torch.testing.assert_close(smooth.losses(model, batch), expected)
    assert torch.equal(smooth.metrics(model, batch)["loss"], plain.metrics(model, batch)["loss"])


def test_metrics_are_sums_over_the_batch(make_task, model):
    task = make_task()
    batch = _batch(task)
    metrics = task.metrics(model, batch)
    logits = model(batch["image"])
    assert metrics["count"] == 12
    assert metrics["accuracy"] == sum(logits.argmax(1) == batch["label"])
    torch.testing.assert_close(metrics["loss"], F.cross_entropy(logits, batch["label"]) * 12)


def test_evaluation_data_is_never_augmented(make_task):
    source = as_source(make_task(crop_padding=2, flip=True).datasets().evaluation)
    keys = SampleOrder(0, len(source)).keys(0, 0, 5)
    one, other = source.fetch(np.arange(5), keys), source.fetch(np.arange(5), None)
    assert one.keys() == other.keys()
    assert torch.equal(one["image"], other["image"])


def test_the_seed_splits_the_digits(make_task):
    other = ImageClassification(data=DataConfig(), model=ModelConfig(), seed=1)
    assert not np.array_equal(make_task().images.test.images, other.images.test.images)


def test_a_perturbation_of_images_counts_in_pixels_from_0_to_1(make_task):
    task = make_task(mean=(0.2,), std=(0.3,), crop_padding=2)
    batch = _batch(task)
    inputs = task.adversarial_inputs(batch)
    pixels = 0.2 + 0.3 * batch["image"]
    assert pixels.min() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(0.2 + 0.3 * inputs.lowest, torch.zeros(1, 1, 1))
    torch.testing.assert_close(0.2 + 0.3 * inputs.highest, torch.ones(1, 1, 1))
    moved = inputs.put(batch["image"] + 0.1 * inputs.unit)
    torch.testing.assert_close(0.2 + 0.3 * moved["image"], pixels + 0.1)
    assert moved["label"] is batch["label"]
    assert batch["image"] is inputs.values

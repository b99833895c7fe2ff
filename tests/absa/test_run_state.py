import pytest
import torch
from engine import Classify, Points, make_replica, normed_network, plain_network, run_updates
from torch import nn

from absa.errors import CheckpointError
from absa.progress import Progress
from absa.run_state import RunState, gather, restore
from absa.settings import Settings
from absa.state import StateTree, clone_to_host

STATE = RunState(
    Progress(samples=12, updates=2, skipped=1, training_s=3.5, best={"accuracy": 0.5}),
    Settings(4, 2),
)


def trained(optimizer="sgd", model=normed_network):
    replica = make_replica(Classify(Points(20), model), optimizer, bn_group=2)
    run_updates(replica, [Settings(4, 2)] * 3)
    return replica


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_what_is_gathered_is_restored_bit_for_bit(optimizer):
    tree = clone_to_host(gather(trained(optimizer), STATE))
    fresh = make_replica(Classify(Points(20), normed_network), optimizer, bn_group=2)
    assert restore(fresh, tree) == STATE
    again = gather(fresh, STATE)
    assert again.values == tree.values
    assert again.tensors.keys() == tree.tensors.keys()
    assert all(torch.equal(again.tensors[name], tree.tensors[name]) for name in tree.tensors)
    assert {name.split("/")[0] for name in tree.tensors} == {"model", "optimizer"}
    assert "model/1.running_mean" in tree.tensors


def test_a_shared_parameter_stays_shared():
    def tied():
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3))
        model[1].weight = model[0].weight
        return model

    tree = clone_to_host(gather(trained(model=tied), STATE))
    fresh = make_replica(Classify(Points(20), tied))
    restore(fresh, tree)
    assert fresh.model[0].weight is fresh.model[1].weight
    assert torch.equal(fresh.model[0].weight, tree.tensors["model/0.weight"])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda: make_replica(Classify(Points(4), plain_network)),
            r"another model: \d+ tensors differ, first '1.bias'.*missing in the job's model",
        ),
        (
            lambda: make_replica(Classify(Points(4, torch.float64), normed_network)),
            r"'0.bias': torch.float32 of shape \(8,\) in the checkpoint, torch.float64",
        ),
        (
            lambda: make_replica(Classify(Points(4), normed_network), "adamw"),
            "the optimizer 'SGD', this job uses AdamW",
        ),
    ],
)
def test_a_tree_of_another_job_is_refused(other, message):
    with pytest.raises(CheckpointError, match=message):
        restore(other(), clone_to_host(gather(trained(), STATE)))


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["progress"].update(epochs=3),
        lambda values: values.pop("settings"),
        lambda values: values.pop("optimizer"),
    ],
)
def test_a_tree_of_another_version_is_refused(change):
    tree = clone_to_host(gather(trained(), STATE))
    values = dict(tree.values)
    change(values)
    fresh = make_replica(Classify(Points(20), normed_network), bn_group=2)
    with pytest.raises(CheckpointError):
        restore(fresh, StateTree(tree.tensors, values))

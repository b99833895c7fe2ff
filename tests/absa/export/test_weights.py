from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from absa.checkpoint import checkpoint_name, save_checkpoint
from absa.errors import CheckpointError, ConfigError
from absa.export.weights import export_weights
from absa.run_folder import RunFolder, new_run, write_job
from absa.state import StateTree


def model() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 8))
    net.add_module("tied", net[3])
    return net


def save(run: RunFolder, update: int, net: nn.Module, metric: float | None = None) -> None:
    tensors = {f"model/{key}": value for key, value in net.state_dict().items()}
    tensors["optimizer/momentum"] = torch.zeros(3)
    about = {"best_metric": metric}
    save_checkpoint(run.checkpoints, checkpoint_name(update), StateTree(tensors, {}), {}, about)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = new_run(str(tmp_path / "runs"), "digits")
    write_job(run, "name: digits\n")
    return run


def test_exported_weights_load_without_absa(run: RunFolder) -> None:
    net = model()
    save(run, 1, net)
    path = export_weights(run.location)
    assert path == Path(run.location, "weights.safetensors")
    weights = load_file(path)
    assert weights.keys() == net.state_dict().keys()
    other = model()
    other.load_state_dict(weights)
    images = torch.ones(2, 1, 4, 4)
    assert torch.equal(other(images), net(images))


def test_the_checkpoint_can_be_chosen(run: RunFolder, tmp_path: Path) -> None:
    nets = [model() for _ in range(3)]
    for update, (net, metric) in enumerate(zip(nets, [0.1, 0.9, 0.5], strict=True)):
        save(run, update, net, metric)
    for checkpoint, net in (("newest", nets[2]), ("best", nets[1]), (checkpoint_name(0), nets[0])):
        path = export_weights("latest", tmp_path, storage=run.root.location, checkpoint=checkpoint)
        assert path == tmp_path / "weights.safetensors"
        assert torch.equal(load_file(path)["0.weight"], net[0].weight)


def test_what_is_missing_is_said(run: RunFolder, tmp_path: Path) -> None:
    for checkpoint, says in (
        ("newest", "has no checkpoint yet"),
        ("best", "has no checkpoint with a best_metric yet"),
        ("update-00000001", r"has no manifest.json.*There is no other one"),
        ("../x", "not the name of a file"),
    ):
        with pytest.raises(CheckpointError, match=says):
            export_weights(run.location, checkpoint=checkpoint)
    save_checkpoint(run.checkpoints, checkpoint_name(1), StateTree({}, {}), {}, {})
    with pytest.raises(CheckpointError, match="holds no weights"):
        export_weights(run.location)
    save(run, 2, model())
    with pytest.raises(ConfigError, match=r"nowhere does not exist; create it first"):
        export_weights(run.location, tmp_path / "nowhere" / "w.safetensors")


def test_an_export_replaces_the_one_before(run: RunFolder, tmp_path: Path) -> None:
    target = tmp_path / "w.safetensors"
    for update in (1, 2):
        net = model()
        save(run, update, net)
        assert export_weights(run.location, target) == target
        assert torch.equal(load_file(target)["0.weight"], net[0].weight)

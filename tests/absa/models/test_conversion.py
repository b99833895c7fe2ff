import copy

import pytest
import torch
from torch import nn

from absa.errors import ConfigError
from absa.models.conversion import convert_batch_norm, revert_batch_norm
from absa.models.ghost_batch_norm import GhostBatchNorm, batch_norms
from absa.models.running_statistics import RunningStatistics


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, 1),
        nn.BatchNorm2d(3, eps=1e-3, momentum=0.2),
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3, affine=False), nn.Linear(3, 4)),
        nn.SyncBatchNorm(4),
        nn.GroupNorm(2, 4),
    )


def test_parameters_buffers_and_modes_stay_the_same_objects():
    model = network()
    model[1].eval()
    tensors = [*model.parameters(), *model.buffers()]
    names = list(model.state_dict())
    assert convert_batch_norm(model, 8) is model
    assert all(
        a is b for a, b in zip(tensors, [*model.parameters(), *model.buffers()], strict=True)
    )
    assert list(model.state_dict()) == names
    assert [type(norm) for norm in batch_norms(model)] == [GhostBatchNorm] * 3
    assert [norm.group for norm in batch_norms(model)] == [8] * 3
    assert (model[1].training, model[3].training) == (False, True)
    assert (model[1].eps, model[1].momentum) == (1e-3, 0.2)


def test_weights_go_both_ways_between_plain_and_ghost():
    plain, ghost = network(), convert_batch_norm(network(), 4)
    plain.load_state_dict(ghost.state_dict())
    ghost.load_state_dict(plain.state_dict())


def test_reverting_restores_the_classes_and_what_they_compute():
    model = network()
    types = [type(module) for module in model.modules()]
    reference = copy.deepcopy(model)
    converted = convert_batch_norm(model, 4)
    RunningStatistics(converted)
    assert revert_batch_norm(converted) is model
    assert [type(module) for module in model.modules()] == types
    assert vars(model[1]).keys() == vars(reference[1]).keys()
    x = torch.randn(4, 2, 1, 1)
    assert torch.equal(model[:3](x), reference[:3](x))
    assert torch.equal(model[1].running_mean, reference[1].running_mean)


def test_model_that_is_a_batch_norm_itself():
    model = nn.BatchNorm1d(3)
    assert convert_batch_norm(model, 4) is model
    assert isinstance(model, GhostBatchNorm)
    assert type(revert_batch_norm(model)) is nn.BatchNorm1d


def test_shared_module_stays_shared():
    norm = nn.BatchNorm1d(3)
    model = convert_batch_norm(nn.Sequential(norm, nn.ReLU(), norm), 4)
    assert model[0] is model[2]
    assert batch_norms(model) == [norm]


def test_hooks_stay():
    seen = []
    norm = nn.BatchNorm1d(3)
    norm.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    convert_batch_norm(norm, 2)(torch.randn(4, 3))
    assert seen == [(4, 3)]


def test_converting_again_changes_the_group():
    model = convert_batch_norm(convert_batch_norm(network(), 4), 2)
    assert {norm.group for norm in batch_norms(model)} == {2}
    assert type(revert_batch_norm(model)[1]) is nn.BatchNorm2d


def test_ghost_built_directly_reverts_to_the_class_it_names():
    assert type(revert_batch_norm(GhostBatchNorm(3, 2))) is nn.BatchNorm2d
    built = GhostBatchNorm(3, 2, plain=nn.BatchNorm1d)
    assert type(revert_batch_norm(built)) is nn.BatchNorm1d


def test_subclasses_are_left_alone_with_a_warning_that_names_them():
    class Special(nn.BatchNorm2d):
        pass

    model = nn.Sequential(nn.BatchNorm2d(3), Special(3), nn.LazyBatchNorm2d())
    with pytest.warns(UserWarning, match=r"1 \(Special\), 2 \(LazyBatchNorm2d\)"):
        convert_batch_norm(model, 4)
    assert [type(m) for m in model] == [GhostBatchNorm, Special, nn.LazyBatchNorm2d]


def test_group_must_be_positive():
    model = network()
    with pytest.raises(ConfigError, match="bn_group: 0 samples"):
        convert_batch_norm(model, 0)
    assert not batch_norms(model)

import pytest
import torch
from torch import nn

from absa.models.build import BUILT_IN
from absa.models.mlp import mlp
from absa.models.normalisation import group_norm
from absa.models.resnet import BasicBlock, resnet18, resnet50
from absa.models.resnet_cifar import Block, resnet20
from absa.models.small_cnn import small_cnn


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("network", "image_shape", "num_classes", "expected"),
    [
        (resnet18, (3, 224, 224), 1000, 11_689_512),
        (resnet18, (3, 32, 32), 10, 11_173_962),
        (resnet50, (3, 224, 224), 1000, 25_557_032),
        (resnet50, (3, 32, 32), 10, 23_520_842),
        (resnet20, (3, 32, 32), 10, 269_722),
        (mlp, (1, 28, 28), 10, 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10),
        (small_cnn, (1, 8, 8), 10, 98_026),
        (small_cnn, (3, 32, 32), 10, 98_602),
    ],
)
def test_parameter_counts(network, image_shape, num_classes, expected):
    with torch.device("meta"):
        assert num_parameters(network(image_shape, num_classes)) == expected


@pytest.mark.parametrize("width", [1, 8, 64])
def test_small_cnn_has_the_parameters_its_formula_says(width):
    w, c, k = width, 3, 7
    model = small_cnn((c, 32, 32), k, width=width)
    assert num_parameters(model) == 9 * w * (c + 10 * w) + 14 * w + (16 * w + 1) * k


def test_resnet50_has_161_parameter_tensors():
    with torch.device("meta"):
        assert len(list(resnet50((3, 224, 224), 1000).parameters())) == 161


def test_resnets_use_torchvision_names():
    with torch.device("meta"):
        deep, basic = (set(f((3, 224, 224), 1000).state_dict()) for f in (resnet50, resnet18))
    assert len(deep) == 320
    assert len(basic) == 122
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.num_batches_tracked",
        "layer3.5.conv3.weight",
        "layer4.2.bn3.bias",
        "fc.bias",
    } <= deep
    assert "layer4.1.bn2.weight" in basic
    assert "layer1.0.downsample.0.weight" not in basic


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 28, 20)])
def test_networks_take_any_small_image(name, norm, image_shape):
    with torch.device("meta"):
        model = BUILT_IN[name](image_shape, 5, norm=norm)
        logits = model(torch.empty(2, *image_shape))
    assert logits.shape == (2, 5)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    batch_norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert bool(batch_norms) == (norm == "batch")


def test_imagenet_stem_is_the_default_above_64_pixels():
    with torch.device("meta"):
        assert resnet18((3, 64, 64), 2).conv1.kernel_size == (3, 3)
        assert resnet18((3, 65, 64), 2).conv1.kernel_size == (7, 7)
        assert resnet18((3, 32, 32), 2, stem="imagenet").conv1.kernel_size == (7, 7)
    assert resnet18((3, 65, 65), 2)(torch.randn(1, 3, 65, 65)).shape == (1, 2)


def test_mlp_without_hidden_layers_is_linear():
    assert num_parameters(mlp((1, 2, 3), 4, hidden=[])) == 6 * 4 + 4


@pytest.mark.parametrize(("network", "num_blocks"), [(resnet20, 9), (resnet18, 8), (resnet50, 16)])
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("zero_gamma", [True, False])
def test_zero_gamma_starts_one_scale_per_block_at_zero(
    network, num_blocks, norm, zero_gamma, monkeypatch
):
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda weight, **_: weight)  # slow, not needed
    model = network((3, 8, 8), 4, norm=norm, zero_gamma=zero_gamma)
    scales = [m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
    assert sum(not scale.any() for scale in scales) == zero_gamma * num_blocks


@pytest.mark.parametrize(
    "block", [Block(4, 4, norm="batch"), BasicBlock(4, 4, stride=1, norm="batch")]
)
def test_block_with_zero_scale_is_the_identity_on_positive_input(block):
    last = block.norm2 if isinstance(block, Block) else block.bn2
    nn.init.zeros_(last.weight)
    x = torch.rand(2, 4, 6, 6)
    assert torch.equal(block(x), x)


def test_cifar_shortcut_takes_every_second_pixel_and_fills_with_zeros():
    block = Block(2, 5, norm="batch")
    nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 2, 6, 6)
    y = block(x)
    assert torch.equal(y[:, :2], x[:, :, ::2, ::2])
    assert not y[:, 2:].any()


def test_initial_weights_follow_he_and_goyal():
    torch.manual_seed(0)
    model = resnet18((3, 32, 32), 200)
    conv = model.layer3[1].conv1
    fan_out = conv.out_channels * 9
    torch.testing.assert_close(conv.weight.std().item(), (2 / fan_out) ** 0.5, rtol=0.02, atol=0)
    torch.testing.assert_close(model.fc.weight.std().item(), 0.01, rtol=0.02, atol=0)
    assert not model.fc.bias.any()


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(4, 1), (16, 1), (17, 1), (24, 1), (32, 2), (48, 3), (64, 4), (2048, 128)],
)
def test_group_norm_has_at_least_16_channels_per_group(channels, groups):
    assert group_norm(channels).num_groups == groups


def test_weights_come_from_the_global_random_state():
    torch.manual_seed(3)
    first = small_cnn((1, 8, 8), 10, width=2)
    torch.manual_seed(3)
    second = small_cnn((1, 8, 8), 10, width=2)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )

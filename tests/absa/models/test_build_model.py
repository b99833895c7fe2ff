import subprocess
import sys

import pytest
from torch import nn

import absa.models
from absa.errors import ConfigError, TaskError
from absa.models import ModelConfig, build_model
from absa.models.user_callable import load_callable


def build(**config) -> nn.Module:
    return build_model(ModelConfig(**config), image_shape=(1, 8, 8), num_classes=10)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's, importable as own_networks."""
    (tmp_path / "own_networks.py").write_text(
        "from torch import nn\n"
        "class Holder:\n"
        "    net = staticmethod(lambda: nn.Linear(1, 1))\n"
        "constant = 3\n"
        "def net(image_shape, num_classes, depth=1):\n"
        "    return nn.Linear(image_shape[1] * depth, num_classes)\n"
        "def plain(a, *, b=2):\n"
        "    return nn.Linear(a, b)\n"
        "def anything(**options):\n"
        "    return nn.Linear(1, len(options))\n"
        "def nothing():\n"
        "    return 'a network'\n"
    )
    (tmp_path / "needs_more.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_networks", None)


def test_default_is_a_small_convolutional_net_with_batch_norm():
    model = build()
    assert isinstance(model[1], nn.BatchNorm2d)
    assert model[0].out_channels == 32


def test_settings_reach_the_network():
    model = build(name="resnet20", norm="group", zero_gamma=True, args={"width": 4})
    assert isinstance(model[1], nn.GroupNorm)
    assert not model[3].norm2.weight.any()
    assert model[0].out_channels == 4
    assert build(name="mlp", args={"hidden": [7]})[1].out_features == 7


def test_mlp_has_no_normalisation_unless_asked_for():
    assert not any(isinstance(m, nn.BatchNorm1d) for m in build(name="mlp"))
    assert any(isinstance(m, nn.BatchNorm1d) for m in build(name="mlp", norm="batch"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"name": "resnet21"},
            r"'resnet21' is no network \(did you mean 'resnet20'\?\); built in: sm",
        ),
        ({"name": "zzz"}, r"'zzz' is no network; built in: small_cnn, mlp, resnet20, resnet18, re"),
        ({"args": {"widht": 3}}, r"model.args.widht: no such argument \(did you mean 'width'\?\)"),
        ({"args": {"width": "a"}}, r"model.args.width: 'a': input should be a valid integer"),
        ({"args": {"width": True}}, r"model.args.width: True: input should be a valid integer"),
        ({"args": {"width": 0}}, r"model.args.width: 0: input should be greater than 0"),
        ({"args": {"norm": "group"}}, r"model.args.norm: set model.norm instead"),
        ({"args": {"num_classes": 3}}, r"model.args.num_classes: no such argument; allowed: width"),
        ({"name": "mlp", "args": {"hidden": [3, -1]}}, r"model.args.hidden.1: -1: input should be"),
        (
            {"name": "resnet18", "args": {"stem": "x"}},
            r"model.args.stem: 'x': input should be 'imag",
        ),
        (
            {"zero_gamma": True},
            r"small_cnn has no residual blocks; networks with: resnet20, resnet1",
        ),
    ],
)
def test_wrong_settings_of_built_in_networks_are_explained(config, message):
    with pytest.raises(ConfigError, match=message):
        build(**config)


@pytest.mark.usefixtures("own")
def test_own_callable_gets_what_its_signature_names():
    assert build(name="own_networks:net", args={"depth": 2}).weight.shape == (10, 16)
    assert build(name="own_networks:net", args={"num_classes": 3}).weight.shape == (3, 8)
    assert build(name="own_networks:plain", args={"a": 4}).weight.shape == (2, 4)
    assert build(name="own_networks:anything", args={"x": 4}).weight.shape == (1, 1)
    assert build(name="own_networks:Holder.net").weight.shape == (1, 1)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"name": "own_networks:"},
            r"does not name a callable; write it as package.module:callable",
        ),
        ({"name": "own networks:net"}, r"does not name a callable"),
        ({"name": ":net"}, r"does not name a callable"),
        ({"name": "own_networks:nett"}, r"no 'nett' in it \(did you mean 'net'\?\)"),
        ({"name": "own_networks:constant"}, r"is a int, which cannot be called"),
        ({"name": "not_there_at_all:net"}, r"no module named 'not_there_at_all'; it must be inst"),
        ({"name": "own_networks.sub:net"}, r"no module named"),
        ({"name": "needs_more:net"}, r"imports 'surely_not_installed', which is not installed"),
        ({"name": "own_networks:plain"}, r"model.args: missing a; allowed: a, b"),
        (
            {"name": "own_networks:plain", "args": {"a": 1, "c": 2}},
            r"model.args.c: no such argument",
        ),
        ({"name": "own_networks:net", "norm": "group"}, r"model.norm: only for built-in networks"),
        ({"name": "own_networks:net", "zero_gamma": True}, r"model.zero_gamma: only for built-in"),
        ({"name": "math:sqrt"}, r"model.args: missing x"),
    ],
)
def test_wrong_settings_of_own_callables_are_explained(config, message):
    with pytest.raises(ConfigError, match=message):
        build(**config)


@pytest.mark.usefixtures("own")
def test_own_callable_must_return_a_module():
    with pytest.raises(TaskError, match=r"returned a str; it must return a torch\.nn\.Module"):
        build(name="own_networks:nothing")


def test_callable_is_what_the_reference_names():
    assert load_callable("torch.nn:Linear", key="model.name") is nn.Linear


def test_every_public_name_is_there():
    assert all(callable(getattr(absa.models, name)) for name in absa.models.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = absa.models.no_such_name


def test_configuration_does_not_import_torch():
    code = "import sys, absa.models.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

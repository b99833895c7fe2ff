"""From the ``model`` section of a job to a network."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call
from torch import nn

from absa.errors import ConfigError, TaskError
from absa.models.config import ModelConfig
from absa.models.mlp import mlp
from absa.models.resnet import resnet18, resnet50
from absa.models.resnet_cifar import resnet20
from absa.models.small_cnn import small_cnn
from absa.models.user_callable import check_arguments, did_you_mean, load_callable

BUILT_IN: Mapping[str, Callable[..., nn.Module]] = {
    "small_cnn": small_cnn,
    "mlp": mlp,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "resnet50": resnet50,
}


def build_model(
    config: ModelConfig, *, image_shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """Return a new network; its weights come from torch's global random state.

    A callable of the user gets ``args``, and ``image_shape`` and ``num_classes`` if its signature
    names them.

    Args:
        config: What to build.
        image_shape: Channels, height, width of the data.
        num_classes: Classes of the data.

    Raises:
        ConfigError: No such network, or arguments it does not take.
        TaskError: The user's callable did not return a module.
    """
    shape: dict[str, Any] = {"image_shape": image_shape, "num_classes": num_classes}
    if config.name in BUILT_IN:
        return _built_in(config, shape)
    if ":" not in config.name:
        raise ConfigError(
            f"model.name: {config.name!r} is no network{did_you_mean(config.name, BUILT_IN)}; "
            f"built in: {', '.join(BUILT_IN)}; your own: package.module:callable"
        )
    return _from_user(config, shape)


def _built_in(config: ModelConfig, shape: dict[str, Any]) -> nn.Module:
    network = BUILT_IN[config.name]
    given = dict(shape)
    if config.norm is not None:
        given["norm"] = config.norm
    if config.zero_gamma:
        if "zero_gamma" not in inspect.signature(network).parameters:
            residual = [
                n for n, f in BUILT_IN.items() if "zero_gamma" in inspect.signature(f).parameters
            ]
            raise ConfigError(
                f"model.zero_gamma: {config.name} has no residual blocks; "
                f"networks with: {', '.join(residual)}"
            )
        given["zero_gamma"] = True
    for field in ("norm", "zero_gamma"):
        if field in config.args:
            raise ConfigError(f"model.args.{field}: set model.{field} instead")
    own = {*shape, "norm", "zero_gamma"}
    check_arguments(network, config.args, key="model.args", given=own)
    checked = validate_call(config=ConfigDict(strict=True))(network)
    try:
        return checked(**given, **config.args)
    except ValidationError as error:
        raise ConfigError(_first_line(error)) from error


def _first_line(error: ValidationError) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"model.args.{path}: {first['input']!r}: {message}"


def _from_user(config: ModelConfig, shape: dict[str, Any]) -> nn.Module:
    for field in ("norm", "zero_gamma"):
        if getattr(config, field):
            raise ConfigError(
                f"model.{field}: only for built-in networks; {config.name!r} is yours: "
                "pass what it needs in model.args"
            )
    function = load_callable(config.name, key="model.name")
    given = {k: v for k, v in shape.items() if k not in config.args and _takes(function, k)}
    check_arguments(function, config.args, key="model.args", given=given)
    model = function(**given, **config.args)
    if not isinstance(model, nn.Module):
        raise TaskError(
            f"model.name: {config.name!r} returned a {type(model).__name__}; "
            "it must return a torch.nn.Module"
        )
    return model


def _takes(function: Callable[..., Any], name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except ValueError:
        return False

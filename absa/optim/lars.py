"""LARS: every tensor moves by a fixed share of its own norm (arXiv:1708.03888)."""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from absa.errors import ConfigError, TaskError
from absa.optim.lars_cpu import BUFFER, SCALE, Entry, step_on_host
from absa.optim.lars_foreach import step_on_device
from absa.optim.layout import in_layout_of, is_dense
from absa.optim.trust_ratio import Adaptation, Exclude, LarsOptions, LrPlacement

_DTYPES = (torch.float32, torch.float64, torch.bfloat16)
_OPTIONS = tuple(LarsOptions.__dataclass_fields__)


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling, Algorithm 1 of the paper; the defaults are the paper's.

    With the gradient g of the tensor w, learning rate lr and momentum m::

        ratio = trust * |w| / (|g| + weight_decay * |w| + eps)
        v     = m * v + lr * ratio * (g + weight_decay * w)
        w     = w - v

    A tensor with zero weights or a zero gradient has ratio 1 (see `trust_ratio`). Gradients are
    never written to. Every option but `params` can be set per parameter group.

    On the host the state stores v as ``momentum_scale * momentum_buffer``; elsewhere the scale
    stays 1. If an attribute ``found_inf`` holds a scalar tensor that is 1, a step changes nothing.
    Off the host a step never waits for the device. It can be captured in a CUDA graph after one
    ordinary step; make ``lr`` a tensor on the device to change it between replays.

    Args:
        params: Parameters or groups of them: dense, float32, float64 or bfloat16 (whose trust
            ratio is computed in float32 or wider).
        lr: Learning rate, >= 0; a scalar tensor is read anew in every step.
        momentum: Heavy-ball momentum in [0, 1).
        weight_decay: L2 coefficient, >= 0.
        trust_coefficient: Share of its norm that a tensor may move at lr = 1, > 0.
        eps: Added to the denominator, >= 0. 0 is 0 (some implementations then take 1e-7).
        nesterov: Step along ``m * v + lr * ratio * g'`` instead of ``v``.
        exclude: "one_dimensional" lets tensors with at most one dimension (biases, normalisation)
            move at the plain learning rate without weight decay, as the MLPerf recipes do.
        adaptation: "clip" bounds ``lr * ratio`` by lr, as LARC does: ``min(ratio, lr)``.
        lr_placement: "outside" keeps the momentum free of the learning rate:
            ``v = m * v + ratio * g'; w = w - lr * v``. The same while lr is constant.

    Raises:
        ConfigError: An option is out of range.
        TaskError: A parameter or gradient has a layout or dtype that cannot be stepped.

    Source: You, Gitman, Ginsburg 2017, arXiv:1708.03888, Algorithm 1.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        trust_coefficient: float = 1e-3,
        *,
        eps: float = 0.0,
        nesterov: bool = False,
        exclude: Exclude = "none",
        adaptation: Adaptation = "scale",
        lr_placement: LrPlacement = "inside",
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "eps": eps,
            "nesterov": nesterov,
            "exclude": exclude,
            "adaptation": adaptation,
            "lr_placement": lr_placement,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options it does not name are those of the constructor.

        Raises:
            ConfigError: An option of the group is out of range.
            TaskError: A parameter cannot be stepped.
        """
        group = {**self.defaults, **param_group}
        _options(group)
        lr = group["lr"]
        if isinstance(lr, Tensor):
            if lr.ndim != 0:
                raise ConfigError(f"LARS: a tensor lr must be a scalar, got shape {[*lr.shape]}")
        elif not 0 <= lr < float("inf"):
            raise ConfigError(f"LARS: lr must be finite and >= 0, got {lr}")
        super().add_param_group(param_group)
        try:
            for param in self.param_groups[-1]["params"]:
                _check_param(param)
        except TaskError:
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned; states move between devices freely."""
        super().load_state_dict(state_dict)
        self.settle_scales()

    def settle_scales(self) -> None:
        """Fold the momentum scale of every state off the host into its buffer."""
        for param, state in self.state.items():
            if not param.is_cpu and state.get(SCALE, 1.0) != 1.0:
                state[BUFFER].mul_(state[SCALE])
                state[SCALE] = 1.0

    @torch.no_grad()
    def rescale_momentum(self, factor: float) -> None:
        """Multiply the momentum of every group that holds the learning rate inside.

        When the learning rate jumps by ``factor``, the updates that the buffer remembers were
        taken at the old one: Goyal et al. call this momentum correction.

        Args:
            factor: New learning rate / old one; finite, >= 0.

        Raises:
            ConfigError: The factor is negative or not finite.

        Source: Goyal et al. 2017, arXiv:1706.02677, section 3, remark 2.
        """
        if not 0 <= factor < float("inf"):
            raise ConfigError(f"the momentum factor must be finite and >= 0, got {factor}")
        for group in self.param_groups:
            if group["lr_placement"] == "outside" or group["momentum"] == 0:
                continue
            for param in group["params"]:
                if BUFFER in self.state[param]:
                    self._rescale(param, factor)

    def _rescale(self, param: Tensor, factor: float) -> None:
        if param.is_cpu:
            self.state[param][SCALE] *= factor
        else:
            self.state[param][BUFFER].mul_(factor)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient.

        Args:
            closure: Evaluates the model again and returns the loss.

        Returns:
            The closure's loss.

        Raises:
            TaskError: A gradient is sparse; nothing was changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        work = [(group, self._entries(group)) for group in self.param_groups]
        for group, (host, device) in work:
            options = _options(group)
            if host and not (self.found_inf is not None and bool(self.found_inf)):
                step_on_host(host, float(group["lr"]), options)
            if device:
                step_on_device(device, _device_lr(group["lr"]), options, self.found_inf)
        return loss

    def _entries(self, group: dict[str, Any]) -> tuple[list[Entry], list[Entry]]:
        """Return what can be stepped in this group on the host, and elsewhere.

        States are made where they are missing.
        """
        host: list[Entry] = []
        device: list[Entry] = []
        has_momentum = group["momentum"] != 0
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if grad.layout != torch.strided:
                raise TaskError(
                    f"LARS cannot step a gradient of layout {grad.layout} (parameter of "
                    f"shape {[*param.shape]}): it needs dense gradients; build the embedding with "
                    "sparse=False or choose another optimizer"
                )
            state = self.state[param]
            if has_momentum:
                if BUFFER not in state:
                    state[BUFFER] = torch.zeros_like(param)
                    state[SCALE] = 0.0 if param.is_cpu else 1.0
                state[BUFFER] = in_layout_of(state[BUFFER], param)
            entry = Entry(param, in_layout_of(grad, param), state)
            (host if param.is_cpu else device).append(entry)
        return host, device


def _options(group: dict[str, Any]) -> LarsOptions:
    return LarsOptions(**{name: group[name] for name in _OPTIONS})


def _device_lr(lr: float | Tensor) -> float | Tensor:
    """Return a learning rate that the device can read without waiting for the host or being it."""
    return lr.item() if isinstance(lr, Tensor) and lr.device.type == "cpu" else lr


def _check_param(param: Tensor) -> None:
    if isinstance(param, torch.nn.UninitializedParameter):
        return
    if param.dtype not in _DTYPES:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
        raise TaskError(
            f"LARS cannot step a parameter of dtype {param.dtype} (shape {[*param.shape]}): "
            f"allowed are {allowed}; keep the weights in one of these and compute in another"
        )
    if param.layout != torch.strided or not is_dense(param):
        raise TaskError(
            f"LARS cannot step a parameter whose elements do not fill one stretch of memory "
            f"(shape {[*param.shape]}, layout {param.layout}): call .contiguous() on it first"
        )

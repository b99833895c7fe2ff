"""One LARS step over the tensors of ResNet-50, beside public LARS and PyTorch's fused SGD."""

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from absa.optim.lars import LARS
from benchmarks.measure import (
    Aim,
    Clock,
    Row,
    alternate,
    arguments,
    compare,
    cuda_s,
    missing,
    report,
    wall_s,
)

try:
    import pytorch_optimizer
    import torch_optimizer
except ImportError:
    PEERS = False
else:
    PEERS = True

ROUNDS = {"quick": 40, "usual": 150, "full": 500}
MOMENTUM, WEIGHT_DECAY, TRUST, LR = 0.9, 5e-4, 1e-3, 0.1
CAPTURED = "ours, captured"
SGD = "torch.optim.SGD(fused=True)"
FUSED_SGD_AIM = Aim("<=", 1.4)
PUBLIC_LARS_AIM = Aim(">=", 1.8)


def resnet50_shapes() -> Iterator[tuple[int, ...]]:
    """Yield the shapes of ResNet-50's parameters (He et al. 2015, arXiv:1512.03385, table 1)."""
    yield from _convolution(64, 3, 7)
    channels = 64
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            yield from _convolution(width, channels, 1)
            yield from _convolution(width, width, 3)
            yield from _convolution(4 * width, width, 1)
            if block == 0:
                yield from _convolution(4 * width, channels, 1)
            channels = 4 * width
    yield (1000, channels)
    yield (1000,)


def _convolution(out: int, channels: int, kernel: int) -> Iterator[tuple[int, ...]]:
    """Yield a convolution without bias and its batch-norm."""
    yield (out, channels, kernel, kernel)
    yield (out,)
    yield (out,)


def parameters(device: str) -> list[Tensor]:
    """Return random parameters with gradients; the same ones at every call."""
    generator = torch.Generator().manual_seed(0)
    params = []
    for shape in resnet50_shapes():
        values, grad = (torch.randn(shape, generator=generator) for _ in range(2))
        param = (0.05 * values).to(device).requires_grad_()
        param.grad = (1e-3 * grad).to(device)
        params.append(param)
    return params


def plain_foreach_lars(params: Sequence[Tensor]) -> Callable[[], None]:
    """Return the step that one writes first: Algorithm 1 as a chain of foreach operations."""
    wide = [param for param in params if param.ndim > 1]
    narrow = [param for param in params if param.ndim <= 1]
    momenta = [torch.zeros_like(param) for param in wide + narrow]

    @torch.no_grad()
    def step() -> None:
        grads = [param.grad for param in wide if param.grad is not None]
        weight_norms = torch.stack(torch._foreach_norm(wide))
        grad_norms = torch.stack(torch._foreach_norm(grads))
        rates = LR * TRUST * weight_norms / (grad_norms + WEIGHT_DECAY * weight_norms)
        directions = list(torch._foreach_add(grads, wide, alpha=WEIGHT_DECAY))
        torch._foreach_mul_(directions, list(rates.unbind()))
        plain = [param.grad for param in narrow if param.grad is not None]
        directions += torch._foreach_mul(plain, LR)
        torch._foreach_mul_(momenta, MOMENTUM)
        torch._foreach_add_(momenta, directions)
        torch._foreach_sub_(wide + narrow, momenta)

    return step


def ours(device: str, lr: float | Tensor = LR) -> LARS:
    """Return our LARS, configured as everything it is compared with."""
    params = parameters(device)
    return LARS(params, lr, MOMENTUM, WEIGHT_DECAY, TRUST, exclude="one_dimensional")


def steps(device: str) -> dict[str, Callable[[], object]]:
    """Return the step of every optimizer, all with one-dimensional tensors left alone."""
    params = parameters(device)
    wide = [param for param in params if param.ndim > 1]
    narrow = [param for param in params if param.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": wide}, {"params": narrow, "weight_decay": 0.0}]
    options: dict[str, Any] = {"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}
    lars = {**options, "trust_coefficient": TRUST}
    return {
        "ours": ours(device).step,
        SGD: torch.optim.SGD(parameters(device), fused=True, **options).step,
        "torch_optimizer LARS": torch_optimizer.LARS(groups, **lars).step,
        "pytorch_optimizer LARS": pytorch_optimizer.LARS(parameters(device), **lars).step,
        "plain foreach LARS": plain_foreach_lars(parameters(device)),
    }


def captured(step: Callable[[], object]) -> Callable[[], None]:
    """Return the replay of a CUDA graph of one step."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measured(case: str, device: str, rounds: int, clock: Clock) -> list[Row]:
    """Return our step beside every peer's on one device."""
    calls = steps(device)
    if device == "cuda":
        calls[CAPTURED] = captured(ours(device, torch.tensor(LR, device=device)).step)
    times = alternate(calls, rounds, clock)
    # The issue states its aims for the host alone.
    sgd_aim, public_aim = (FUSED_SGD_AIM, PUBLIC_LARS_AIM) if device == "cpu" else (None, None)
    sgd = _ms(times[SGD])
    rows = [compare(case, "ms/step", _ms(times["ours"]), sgd, SGD, sgd_aim)]
    if CAPTURED in times:
        rows.append(compare(f"{case}, captured", "ms/step", _ms(times[CAPTURED]), sgd, SGD))
    public = [name for name in times if name.endswith("optimizer LARS")]
    fastest = min(public, key=lambda name: statistics.median(times[name]))
    for name in [*public, "plain foreach LARS"]:
        aim = public_aim if name == fastest else None
        rows.append(compare(case, "steps/s", _per_s(times["ours"]), _per_s(times[name]), name, aim))
    return rows


def _ms(seconds: Sequence[float]) -> list[float]:
    return [1e3 * value for value in seconds]


def _per_s(seconds: Sequence[float]) -> list[float]:
    return [1 / value for value in seconds]


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments("lars_step", __doc__, argv)
    if not PEERS:
        return missing("torch_optimizer and pytorch_optimizer")
    rows = measured("ResNet-50, CPU", "cpu", ROUNDS[given.size], wall_s)
    if torch.cuda.is_available():
        rows += measured("ResNet-50, CUDA", "cuda", ROUNDS[given.size], cuda_s)
    report("lars_step", rows, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())

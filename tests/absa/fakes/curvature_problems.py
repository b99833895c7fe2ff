"""Small problems in float64 whose dense Hessian is at hand: what the curvature tests measure."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from absa.curvature.problem import Problem
from absa.models.conversion import convert_batch_norm

NUM_SAMPLES, NUM_CLASSES = 6, 3


def cross_entropies(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch["x"]), batch["y"], reduction="none")


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, NUM_CLASSES))


def convolutional() -> nn.Module:
    """Convolution and batch-norm with running statistics of their own."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 2, bias=False), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(),
        nn.Linear(8, NUM_CLASSES),
    )  # fmt: skip
    nn.init.normal_(model[1].running_mean)
    nn.init.uniform_(model[1].running_var, 0.5, 2)
    return model


def ghost() -> nn.Module:
    return convert_batch_norm(convolutional(), 2)


class Tied(nn.Module):
    """One matrix is used twice, and one module hangs on two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.again = self.second
        self.head = nn.Linear(4, NUM_CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.again(self.second(torch.tanh(self.first(x))))))


class Attention(nn.Module):
    """Fused attention has no double backward; the derivatives of layer-norm are intricate."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm = nn.Linear(2, 6, bias=False), nn.LayerNorm(4)
        self.head = nn.Linear(4, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mix(x.unflatten(-1, (2, 2))).chunk(3, -1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(self.norm(mixed.flatten(1)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 2, batch_first=True), nn.Linear(2, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.unflatten(-1, (2, 2)))[0][:, -1])


class Encoder(nn.Module):
    """A transformer layer that is frozen, so that its fast path would be taken."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.layer = nn.TransformerEncoderLayer(2, 1, 2, 0.1, batch_first=True)
        self.layer.requires_grad_(False)
        self.head = nn.Linear(2, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.first(x.unflatten(-1, (2, 2)))).mean(1))


class Embedded(nn.Module):
    """The gradient of some parameters is sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(5, 2, sparse=True), nn.Linear(2, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        words = x.abs().long().clamp(max=4)
        return self.head(torch.tanh(self.words(words).sum(1)))


class Patchy(nn.Module):
    """Parameters that are frozen, not used, or that the output is linear in."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)
        self.frozen, self.second = nn.Linear(4, 3).requires_grad_(False), nn.Linear(3, NUM_CLASSES)
        self.shift = nn.Parameter(torch.randn(()))
        self.nothing = nn.Parameter(torch.randn(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.frozen(x))) + self.shift


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron,
    "convolutional": convolutional,
    "ghost": ghost,
    "tied": Tied,
    "attention": Attention,
    "recurrent": Recurrent,
    "encoder": Encoder,
    "embedded": Embedded,
    "patchy": Patchy,
}


def make_problem(name: str = "perceptron", num_samples: int = NUM_SAMPLES) -> Problem:
    """Return a problem of one pass; its model is in training mode."""
    torch.manual_seed(1)
    model = NETWORKS[name]().double()
    shape = (1, 3, 3) if name in ("convolutional", "ghost") else (4,)
    batch = {
        "x": torch.randn(num_samples, *shape, dtype=torch.float64),
        "y": torch.randint(NUM_CLASSES, (num_samples,)),
        "weight": torch.rand(num_samples, dtype=torch.float64),
    }
    return Problem(model, cross_entropies, [batch])


def cut(problem: Problem, *borders: int) -> Problem:
    """Return the same problem in several passes, cut before these samples."""
    (batch,) = problem.passes
    ends = [0, *borders, len(batch["y"])]
    pieces = [
        {name: tensor[first:last] for name, tensor in batch.items()}
        for first, last in itertools.pairwise(ends)
    ]
    return replace(problem, passes=pieces)


def numbers(model: nn.Module) -> Tensor:
    """Return the trainable parameters as a vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])


def of_numbers(problem: Problem) -> Callable[[Tensor], Tensor]:
    """Return the losses of a problem's one pass as a function of the trainable parameters."""
    (batch,) = problem.passes

    class Losses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = copy.deepcopy(problem.model).eval()
            for module in self.model.modules():
                if isinstance(module, nn.Embedding):
                    module.sparse = False

        def forward(self) -> Tensor:
            return problem.losses(self.model, batch)

    losses = Losses()
    named = {name: p for name, p in losses.named_parameters() if p.requires_grad}

    def function(vector: Tensor) -> Tensor:
        parts = vector.split([p.numel() for p in named.values()])
        shaped = [part.view(p.shape) for part, p in zip(parts, named.values(), strict=True)]
        with sdpa_kernel(SDPBackend.MATH):
            return functional_call(losses, dict(zip(named, shaped, strict=True)), ())

    return function


def dense_hessian(problem: Problem) -> Tensor:
    """Return the Hessian of the mean loss of a problem's one pass, entry by entry."""
    losses, (batch,) = of_numbers(problem), problem.passes
    weights = torch.ones(len(batch["y"])) if problem.weights is None else problem.weights(batch)
    share = (weights / weights.sum()).double()
    function = lambda vector: losses(vector) @ share  # noqa: E731
    return torch.autograd.functional.hessian(function, numbers(problem.model))

"""Linear regression, whose gradient noise is known exactly at any weights.

x is normal in 20 dimensions, y the sum of x plus normal noise of standard deviation 3, the loss
(w x - y)^2. At w = 0 the population has |G|^2 = 80, tr(Sigma) = 2400 and a noise scale of 30; a
drawn training set has others, and those are what an estimator sees that goes through it in epochs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from absa.noise_scale.estimate import Estimate
from absa.order import SampleOrder, next_range
from absa.task import Batch, Datasets
from absa.update.cut import cut_update

DIMENSIONS, NOISE = 20, 3.0
POPULATION = Estimate(trace=2400.0, gradient_sq=80.0)
"""At w = 0, by algebra: 4 |1|^2, and 4 E[y^2 |x|^2] - 80 = 4 (29 * 20 + 2 * 20) - 80."""


@dataclass(frozen=True)
class Problem:
    """A drawn training set."""

    x: Float64[np.ndarray, "samples dims"]
    y: Float64[np.ndarray, " samples"]

    def gradients(
        self, w: Float64[np.ndarray, " dims"], indices: slice | np.ndarray = slice(None)
    ) -> Float64[np.ndarray, "n dims"]:
        """Return the gradients of single samples."""
        x = self.x[indices]
        found: np.ndarray = 2 * (x @ w - self.y[indices])[:, None] * x
        return found


def draw(seed: int, num_train: int) -> Problem:
    """Return a training set; its numbers are float32, as the network gets them."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((num_train, DIMENSIONS), dtype=np.float32).astype(np.float64)
    noise = generator.standard_normal(num_train, dtype=np.float32).astype(np.float64)
    return Problem(x, (x.sum(1) + NOISE * noise).astype(np.float32).astype(np.float64))


class Exact:
    """tr(Sigma), normalised by samples - 1, and |G|^2 over a whole training set, at any weights.

    The mean squared norm of single samples' gradients is a quadratic in w, and so is |G|^2.

    Args:
        problem: The training set.
    """

    def __init__(self, problem: Problem) -> None:
        x, y, num_train = problem.x, problem.y, len(problem.y)
        norms = np.square(x).sum(1)
        self._num_train = num_train
        self._gradient = x.T @ x / num_train, x.T @ y / num_train
        weighted = x * norms[:, None]
        self._norms = x.T @ weighted, weighted.T @ y, float(norms @ np.square(y))

    def __call__(self, w: Float64[np.ndarray, " dims"]) -> Estimate:
        """Return both at ``w``."""
        second, first = self._gradient
        gradient_sq = 4 * float(np.square(second @ w - first).sum())
        square, linear, constant = self._norms
        total = 4 * float(w @ square @ w - 2 * linear @ w + constant)
        trace = (total - self._num_train * gradient_sq) / (self._num_train - 1)
        return Estimate(trace, gradient_sq)


@dataclass(frozen=True)
class Update:
    """What an update that is cut into passes has to show.

    Args:
        weights: Before it.
        passes: The mean gradient of each pass.
        gradient: Of the whole.
    """

    weights: Float64[np.ndarray, " dims"]
    passes: Float64[np.ndarray, "passes dims"]
    gradient: Float64[np.ndarray, " dims"]


def updates(
    problem: Problem, order: SampleOrder, cut: tuple[int, int], lr: float
) -> Iterator[Update]:
    """Yield the updates of plain SGD from w = 0, in float64 and without our engine.

    Args:
        problem: The training set.
        order: Of its samples.
        cut: Samples of an update, which divide the training set, and of a pass.
        lr: Learning rate; 0: the weights are frozen.
    """
    batch, micro_batch = cut
    (passes,) = cut_update(batch, bn_group=None, micro_batch=micro_batch, world_size=1)
    starts = [each.start for each in passes]
    sizes = np.array([each.size for each in passes], dtype=np.float64)[:, None]
    w, samples = np.zeros(DIMENSIONS), 0
    while True:
        found = problem.gradients(w, order.indices(*next_range(samples, batch, len(problem.y))))
        sums = np.add.reduceat(found, starts)
        yield Update(w, sums / sizes, sums.sum(0) / batch)
        w = w - lr * sums.sum(0) / batch
        samples += batch


class Regression:
    """The same as a task.

    Args:
        problem: The training set.
    """

    def __init__(self, problem: Problem) -> None:
        self._x = torch.from_numpy(problem.x).float()
        self._y = torch.from_numpy(problem.y).float()

    def __len__(self) -> int:
        return len(self._y)

    def build_model(self) -> nn.Module:
        """Return the weights, at zero."""
        model = nn.Linear(DIMENSIONS, 1, bias=False)
        nn.init.zeros_(model.weight)
        return model

    def datasets(self) -> Datasets:
        """Return the training set for both uses."""
        return Datasets(self, self)

    def fetch(self, indices: np.ndarray, keys: np.ndarray | None) -> Batch:
        """Return the samples at ``indices``."""
        places = torch.from_numpy(indices)
        return self._x[places], self._y[places]

    def transform(self, batch: Batch) -> Batch:
        """Return the batch as it is."""
        return batch

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the squared error of each sample."""
        x, y = batch
        predicted: Tensor = model(x)
        losses: Tensor = (predicted.squeeze(1) - y).square()
        return losses

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Count nothing: the benchmark never evaluates."""
        return {"count": torch.tensor(len(batch[1]))}

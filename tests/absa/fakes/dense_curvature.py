"""Operators whose every number is known: a matrix, and the Hessian of a small network."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn


@dataclass
class DenseCurvature:
    """A symmetric matrix behind the seam of a network's curvature; it counts its products."""

    matrix: Tensor
    gradient: Tensor = None
    num_samples: int = 1
    num_products: int = field(default=0, init=False)

    def __post_init__(self):
        if self.gradient is None:
            self.gradient = torch.ones(len(self.matrix), dtype=self.matrix.dtype)

    @property
    def dim(self):
        return len(self.matrix)

    @property
    def dtype(self):
        return self.matrix.dtype

    @property
    def device(self):
        return self.matrix.device

    def product(self, vector):
        self.num_products += 1
        return self.matrix @ vector

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def orthogonal(dim, seed=0):
    """Return a random orthogonal matrix; its columns are the eigenvectors of `with_spectrum`."""
    normal = np.random.default_rng(seed).standard_normal((dim, dim))
    return np.linalg.qr(normal)[0]


def with_spectrum(spectrum, seed=0, gradient=None, dtype=torch.float64):
    """Return a matrix of random eigenvectors with the given eigenvalues."""
    vectors = orthogonal(len(spectrum), seed)
    matrix = torch.tensor(vectors * np.asarray(spectrum) @ vectors.T, dtype=dtype)
    return DenseCurvature((matrix + matrix.T) / 2, gradient)


def network_curvature(seed=0, dtype=torch.float64):
    """Return the Hessian of a small classifier's loss, product by product from autograd."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).to(dtype)
    x, y = torch.randn(40, 6, dtype=dtype), torch.randint(0, 4, (40,))
    parameters = list(model.parameters())
    loss = nn.functional.cross_entropy(model(x), y)
    grads = torch.autograd.grad(loss, parameters, create_graph=True)
    gradient = torch.cat([g.reshape(-1) for g in grads])
    rows = [torch.autograd.grad(entry, parameters, retain_graph=True) for entry in gradient]
    matrix = torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])
    return DenseCurvature(matrix.detach(), gradient.detach(), len(x))

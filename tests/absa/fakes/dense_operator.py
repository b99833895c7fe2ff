"""A symmetric matrix as an operator: what is measured of one can be worked out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class DenseOperator:
    matrix: Tensor
    num_products: int = field(default=0, init=False)

    @property
    def dim(self) -> int:
        return len(self.matrix)

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    def product(self, vector: Tensor) -> Tensor:
        self.num_products += 1
        return self.matrix @ vector


def with_eigenvalues(values: Sequence[float], seed: int = 0) -> DenseOperator:
    """A matrix with these eigenvalues, its eigenvectors in random directions."""
    generator = torch.Generator().manual_seed(seed)
    size = len(values)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return DenseOperator(basis * torch.tensor(values, dtype=torch.float64) @ basis.T)

"""Decompose matrices into singular values and vectors, for the spectral merge methods.

Singular vectors that belong to a singular value of 0 are arbitrary, and differ from one machine to
the next. They are left out here, so that a merge depends on its experts alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Decomposition(NamedTuple):
    """A `Decomposition` is a matrix (m, n) of rank k as left · diag(values) · right.

    Attributes:
        left: the left singular vectors, (m, k), whose columns are orthonormal.
        values: the singular values, (k,), which are positive, largest first.
        right: the right singular vectors, (k, n), whose rows are orthonormal.
    """

    left: Tensor
    values: Tensor
    right: Tensor

    @property
    def matrix(self) -> Tensor:
        """Return the matrix itself, (m, n)."""
        return self.left * self.values @ self.right


def decompose(matrix: Tensor, rank: int | None = None) -> Decomposition:
    """Return the thin singular value decomposition of a matrix, without singular values of 0.

    Args:
        matrix: the matrix, (m, n), in single or double precision.
        rank: the number of singular values that are kept, the largest ones; by default all.

    >>> decompose(torch.tensor([[3.0, 0.0], [0.0, 0.0]])).values
    tensor([3.])
    """
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    kept = len(values) if rank is None else min(rank, len(values))
    if not matrix.is_meta:  # memory is estimated with meta tensors, which have no values
        kept = min(kept, int((values > rounding(matrix, values)).sum()))
    if kept < len(values):  # copies, since views would keep all of it in memory
        return Decomposition(left[:, :kept].clone(), values[:kept].clone(), right[:kept].clone())
    return Decomposition(left, values, right)


def rounding(matrix: Tensor, values: Tensor) -> Tensor:
    """Return the size up to which a singular value of a matrix may be a mere rounding error."""
    return values[:1] * max(matrix.shape) * torch.finfo(values.dtype).eps


def polar_factor(matrix: Tensor) -> Tensor:
    """Return U Vᵀ of a matrix (m, n) = U Σ Vᵀ: the nearest one whose singular values are 0 or 1.

    Independent columns become orthonormal with as little change as possible (Procrustes).

    >>> polar_factor(torch.tensor([[0.0, 2.0], [5.0, 0.0]]))
    tensor([[0., 1.],
            [1., 0.]])
    """
    left, _, right = decompose(matrix)
    return left @ right

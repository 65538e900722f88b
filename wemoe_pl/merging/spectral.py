"""Singular values of matrices: what the spectral merge methods share.

Singular vectors that belong to a singular value of 0 are arbitrary, and differ from one machine to
the next. They are left out here, so that a merge is a function of its experts alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Decomposition(NamedTuple):
    """A matrix (m, n) of rank k as left · diag(values) · right.

    Attributes:
        left: (m, k), whose columns are orthonormal.
        values: (k,), the singular values, which are positive, largest first.
        right: (k, n), whose rows are orthonormal.
    """

    left: Tensor
    values: Tensor
    right: Tensor

    @property
    def matrix(self) -> Tensor:
        """The matrix itself, (m, n)."""
        return self.left * self.values @ self.right


def decompose(matrix: Tensor, rank: int | None = None) -> Decomposition:
    """Return the thin singular value decomposition of a matrix (m, n), without what is 0.

    Args:
        matrix: (m, n), in single or double precision.
        rank: how many of the largest singular values are kept; by default all.

    >>> decompose(torch.tensor([[3.0, 0.0], [0.0, 0.0]])).values
    tensor([3.])
    """
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    kept = len(values) if rank is None else min(rank, len(values))
    if not matrix.is_meta:  # as it is while memory is estimated
        kept = min(kept, int((values > rounding(matrix, values)).sum()))
    if kept < len(values):  # copies, since views would keep all of it in memory
        return Decomposition(left[:, :kept].clone(), values[:kept].clone(), right[:kept].clone())
    return Decomposition(left, values, right)


def rounding(matrix: Tensor, values: Tensor) -> Tensor:
    """The size up to which a singular value of a matrix may be nothing but rounding."""
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

"""Merge orthogonalised singular vectors of all tasks: TSV-M (arXiv 2412.00081, §4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.merging.matrix_method import MatrixMethod
from wemoe_pl.merging.spectral import Decomposition, decompose, polar_factor


@dataclass(frozen=True)
class TSVM(MatrixMethod):
    """TSV-M keeps a share of each task's largest singular values, in directions of its own.

    With k = min(m, n) / T, the k leading singular vectors of each of the T task vectors are put
    side by side, U = [U_1 … U_T] and V likewise. U and V are replaced by their polar factors, whose
    columns are orthonormal: Δ = P(U) Σ P(V)ᵀ. If there are more experts than rows or columns, each
    still keeps one singular value.
    """

    @property
    def label(self) -> str:
        """Return the published name."""
        return "TSV-M"

    def combine(self, matrices: Tensor) -> Tensor:
        """Return P(U) Σ P(V)ᵀ of the truncated decompositions."""
        rank = rank_of_each(matrices)
        return side_by_side([decompose(matrix, rank) for matrix in matrices])


def rank_of_each(matrices: Tensor) -> int:
    """Return the number of singular values that each of T matrices (T, m, n) keeps."""
    return max(1, min(matrices.shape[1:]) // len(matrices))


def side_by_side(parts: Sequence[Decomposition]) -> Tensor:
    """Return P(U) Σ P(V)ᵀ of decompositions of matrices (m, n) → (m, n)."""
    left = polar_factor(torch.cat([part.left for part in parts], dim=1))
    right = polar_factor(torch.cat([part.right for part in parts]))
    return left * torch.cat([part.values for part in parts]) @ right

"""Merge to matrices whose singular values are all equal: Iso-C and Iso-CTS (arXiv 2502.04959)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.matrix_method import MatrixMethod
from wemoe_pl.merging.spectral import decompose, polar_factor


@dataclass(frozen=True)
class IsoC(MatrixMethod):
    """Iso-C sums the task vectors, and sets all singular values of the sum to their mean (§4.1).

    Singular values that are 0 count in the mean, and stay 0.
    """

    @property
    def label(self) -> str:
        """Return the published name."""
        return "Iso-C"

    def combine(self, matrices: Tensor) -> Tensor:
        """Return σ̄ U Vᵀ of Σ τ = U Σ Vᵀ, where σ̄ is the mean of the singular values."""
        common = decompose(matrices.sum(dim=0))
        return common.values.sum() / min(matrices.shape[1:]) * (common.left @ common.right)


@dataclass(frozen=True)
class IsoCTS(MatrixMethod):
    """Iso-CTS is Iso-C with directions of single tasks in place of the sum's least ones (§4.2).

    There are r = min(m, n) directions. About `common` · r of them are the leading directions of
    the sum. Each of the T experts has an equal share of the others: the leading directions of the
    part of its task vector that lies outside the common ones. All directions are made orthogonal
    together, and get the mean of their singular values.

    Args:
        common: the share of directions that are common, 0 to 1. Equal shares may leave some over,
            which are common too; with more experts than 2 (1 − common) r all are, as in Iso-C.
    """

    common: float = 0.8

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        super().__post_init__()
        if not 0.0 <= self.common <= 1.0:
            raise MergeError(
                f"common is {self.common}: choose the share of common directions, 0 to 1; Iso-CTS "
                "is published with 0.8."
            )

    @property
    def label(self) -> str:
        """Return the published name."""
        return "Iso-CTS"

    def combine(self, matrices: Tensor) -> Tensor:
        """Return σ̄ P(U) P(V)ᵀ of the directions of all tasks and the common ones, side by side."""
        size, count = min(matrices.shape[1:]), len(matrices)
        of_each = min(round((size - int(self.common * size)) / count), size // count)
        shared = decompose(matrices.sum(dim=0), size - of_each * count)
        of_tasks = (
            decompose(matrix - shared.left @ (shared.left.T @ matrix), of_each)
            for matrix in matrices  # one at a time, as each is as large as its task vector
        )
        parts = [*of_tasks, shared]
        left = polar_factor(torch.cat([part.left for part in parts], dim=1))
        right = polar_factor(torch.cat([part.right for part in parts]))
        mean = torch.cat([part.values for part in parts]).sum() / size
        return mean * (left @ right)

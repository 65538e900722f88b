"""Iso-C and Iso-CTS: merged matrices all of whose singular values are equal (arXiv 2502.04959)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.matrix_method import MatrixMethod
from wemoe_pl.merging.spectral import decompose, polar_factor


@dataclass(frozen=True)
class IsoC(MatrixMethod):
    """The sum of the task vectors, of which all singular values become their mean (§4.1).

    Singular values that are 0 count in the mean, and stay 0.
    """

    @property
    def label(self) -> str:
        """Return the published name."""
        return "Iso-C"

    def combine(self, matrices: Tensor) -> Tensor:
        """σ̄ U Vᵀ of Σ τ = U Σ Vᵀ, σ̄ being the mean of the singular values."""
        common = decompose(matrices.sum(dim=0))
        return common.values.sum() / min(matrices.shape[1:]) * (common.left @ common.right)


@dataclass(frozen=True)
class IsoCTS(MatrixMethod):
    """Iso-C with directions of single tasks in place of the least ones of the sum (§4.2).

    Of r = min(m, n) directions about `common` · r are the leading ones of the sum. The others are
    shared out among the T experts: the leading ones of what is left of each task vector outside
    the common directions. Both kinds are made orthogonal together, and all get the mean of
    their singular values.

    Args:
        common: the share of directions that are common ones, 0 to 1. So many more of them are as
            are left over; with more experts than 2 (1 − common) r all are common, as in Iso-C.
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
        """σ̄ P(U) P(V)ᵀ of the directions of all tasks and the common ones, side by side."""
        size, count = min(matrices.shape[1:]), len(matrices)
        of_each = min(round((size - int(self.common * size)) / count), size // count)
        shared = decompose(matrices.sum(dim=0), size - of_each * count)
        of_tasks = (
            decompose(matrix - shared.left @ (shared.left.T @ matrix), of_each)
            for matrix in matrices  # one after another: each is as large as its task vector
        )
        parts = [*of_tasks, shared]
        left = polar_factor(torch.cat([part.left for part in parts], dim=1))
        right = polar_factor(torch.cat([part.right for part in parts]))
        mean = torch.cat([part.values for part in parts]).sum() / size
        return mean * (left @ right)

"""Centre task vectors on their mean before they are truncated: CART (arXiv 2503.22178)."""

import math
from dataclasses import dataclass

from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.matrix_method import MatrixMethod
from wemoe_pl.merging.spectral import decompose


@dataclass(frozen=True)
class CART(MatrixMethod):
    """CART adds to the experts' mean θ̄ the scaled sum α Σ of the leading part of each θ_i − θ̄ (§4).

    At full rank only the mean is left, since the centred vectors sum to zero.

    Args:
        alpha: α, the scaling coefficient of the sum.
        rank_ratio: the share of each matrix's singular values that is kept, rounded up. The
            published values are 0.16 for eight tasks and 0.32 for twenty.
    """

    alpha: float = 2.3
    rank_ratio: float = 0.16

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        super().__post_init__()
        if not 0.0 < self.rank_ratio <= 1.0:
            raise MergeError(
                f"rank_ratio is {self.rank_ratio}: choose the share of singular values that is "
                "kept, above 0 and up to 1; CART is published with 0.16 for eight tasks."
            )

    @property
    def factor(self) -> float:
        """Return 1: α scales the sum alone, and the mean is added unscaled."""
        return 1.0

    def combine(self, matrices: Tensor) -> Tensor:
        """Return τ̄ + α Σ of the truncated τ_i − τ̄."""
        mean = matrices.mean(dim=0)
        rank = math.ceil(self.rank_ratio * min(mean.shape))
        centred = (decompose(matrix - mean, rank).matrix for matrix in matrices)
        return mean + self.alpha * sum(centred)

"""Store task vectors of low rank, with the largest singular values of every matrix."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.checkpoints import Factors
from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import Compression, Reader, TaskVectors
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.expert_parameter import ExpertParameter
from wemoe_pl.moe.low_rank_vectors import LowRankVectors, leading_factors


@dataclass(frozen=True)
class LowRank(Compression):
    """The low-rank form keeps the largest singular values of matrices; vectors are kept whole.

    Args:
        rank: the number of singular values that are kept.
        energy: the share of the sum of their squares that is kept, 0 to 1, instead of `rank`.
    """

    rank: int | None = None
    energy: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range, and both or neither of `rank` and `energy`."""
        if (self.rank is None) == (self.energy is None):
            raise MergeError("A low-rank dictionary takes either `rank` or `energy`: give one.")
        if self.rank is not None and self.rank < 1:
            raise MergeError(f"The rank is {self.rank}: give a number from 1.")
        if self.energy is not None and not 0.0 < self.energy <= 1.0:
            raise MergeError(f"The energy is {self.energy}: choose a number above 0, up to 1.")

    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> TaskVectors:
        """Decompose each matrix unless it comes as factors; store vectors as `Dense` does."""
        if weight.ndim < 2:
            return Dense(self.precision).store(weight, fine_tuned, count)
        factors = [self.read_factors(fine_tuned, i, weight) for i in range(count)]
        return LowRankVectors.of(factors, weight, self.dtype(weight))

    def read_factors(self, fine_tuned: Reader, expert: int, weight: Tensor) -> Factors:
        """Return the factors of an expert's task vector.

        Those of an adapter are kept as they are, if they are thin enough.
        """
        if isinstance(fine_tuned, ExpertParameter):
            known = fine_tuned.factors(expert, weight)
            if known and self.rank is not None and known[0].shape[1] <= self.rank:
                return known
        return self.factorise((fine_tuned(expert).to(weight.device) - weight).flatten(1))

    def factorise(self, matrix: Tensor) -> Factors:
        """Return factors (m, R) and (R, n) whose product is near a matrix (m, n)."""
        left, singular, right = torch.linalg.svd(matrix, full_matrices=False)
        rank = len(singular) if self.rank is None else min(self.rank, len(singular))
        if self.energy is not None:
            kept = singular.square().cumsum(0)
            enough = self.energy * kept[-1] * (1 - torch.finfo(kept.dtype).eps * len(kept))
            rank = int((kept < enough).sum()) + 1
        return leading_factors(left, singular, right, rank)

"""Store task vectors of low rank, with the largest singular values of every matrix."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import Compression, Reader, TaskVectors, frozen
from wemoe_pl.moe.dense import Dense


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
        """Decompose each matrix; store vectors as `Dense` does."""
        if weight.ndim < 2:
            return Dense(self.precision).store(weight, fine_tuned, count)
        vectors = (fine_tuned(i).to(weight.device) - weight for i in range(count))
        factors = [self.factorise(vector.flatten(1)) for vector in vectors]
        owners = [i for i, (left, _) in enumerate(factors) for _ in range(left.shape[1])]
        left = torch.cat([left for left, _ in factors], dim=1).to(self.dtype(weight))
        right = torch.cat([right for _, right in factors]).to(self.dtype(weight))
        columns = torch.tensor(owners, dtype=torch.int32, device=weight.device)
        return LowRankVectors(left, right, columns, weight.shape, count)

    def factorise(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Return factors (m, R) and (R, n) whose product is near a matrix (m, n)."""
        left, singular, right = torch.linalg.svd(matrix, full_matrices=False)
        rank = len(singular) if self.rank is None else min(self.rank, len(singular))
        if self.energy is not None:
            kept = singular.square().cumsum(0)
            enough = self.energy * kept[-1] * (1 - torch.finfo(kept.dtype).eps * len(kept))
            rank = int((kept < enough).sum()) + 1
        root = singular[:rank].sqrt()
        return left[:, :rank] * root, root[:, None] * right[:rank]


class LowRankVectors(TaskVectors):
    """A `LowRankVectors` holds products of thin matrices, those of all experts side by side.

    Args:
        left: the left factors, (m, R), R being the sum of the ranks.
        right: the right factors, (R, n).
        owners: the expert of each column of `left`, (R,).
        shape: the shape of the parameter, m × n once it is flattened to a matrix.
        count: T, the number of experts.
    """

    owners: Tensor

    def __init__(self, left: Tensor, right: Tensor, owners: Tensor, shape: torch.Size, count: int):
        super().__init__()
        self.left, self.right = frozen(left), frozen(right)
        self.register_buffer("owners", owners)
        self.shape = shape
        self.count = count

    def mix(self, routing_weights: Tensor) -> Tensor:
        """Scale the columns of each expert by its routing weight, then multiply the factors."""
        dtype = routing_weights.dtype
        shares = routing_weights.index_select(1, self.owners)
        mixed = (self.left.to(dtype) * shares[:, None]) @ self.right.to(dtype)
        return mixed.unflatten(2, self.shape[1:])

    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """Multiply the factors of each expert for some rows or columns."""
        lines, rest = (self.left, self.right) if dim == 0 else (self.right.T, self.left.T)
        ranks = self.owners.bincount(minlength=self.count).tolist()
        pairs = zip(lines[start:stop].split(ranks, dim=1), rest.split(ranks), strict=True)
        return torch.stack([left.to(dtype) @ right.to(dtype) for left, right in pairs])

    def add_applied(self, out: Tensor, x: Tensor, routing_weights: Tensor) -> Tensor:
        """Multiply by both factors for all experts at once, without forming a task vector."""
        dtype = routing_weights.dtype
        shares = routing_weights.index_select(1, self.owners)
        within = x @ self.right.to(dtype).T * shares[:, None]
        out.flatten(0, 1).addmm_(within.flatten(0, 1), self.left.to(dtype).T)
        return out

    @property
    def apply_cost(self) -> float:
        """Return the number of entries of both factors, which multiply every token."""
        return self.left.numel() + self.right.numel()

    @property
    def unpack_cost(self) -> float:
        """Return the multiply-adds of the product of the factors."""
        return len(self.owners) * self.shape.numel()


def are_low_rank(stored: Mapping[str, Tensor], weight: Tensor, count: int) -> bool:
    """Return whether low-rank factors fit each other, a parameter and the number of experts.

    Args:
        stored: the tensors `left`, `right` and `owners` of a `LowRankVectors`.
        weight: the parameter.
        count: T, the number of experts.
    """
    left, right, owners = (stored[part] for part in ("left", "right", "owners"))
    if owners.ndim != 1 or owners.is_floating_point() or weight.ndim < 2:
        return False
    of_experts = ((owners >= 0) & (owners < count)).all() and (owners.diff() >= 0).all()
    rows, columns = weight.flatten(1).shape
    shapes = (rows, len(owners)), (len(owners), columns)
    return bool(of_experts) and (left.shape, right.shape) == shapes

"""Hold task vectors as products of thin matrices."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from wemoe_pl.checkpoints import Factors
from wemoe_pl.moe.compression import TaskVectors, frozen


def leading_factors(left: Tensor, values: Tensor, right: Tensor, rank: int) -> Factors:
    """Return factors (m, R) and (R, n) of the largest singular values, which both share by root.

    Args:
        left: the left singular vectors, (m, k).
        values: the singular values, (k,), largest first.
        right: the right singular vectors, (k, n).
        rank: R, the number of singular values that are kept.
    """
    root = values[:rank].sqrt()
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

    @classmethod
    def of(cls, factors: Sequence[Factors], weight: Tensor, dtype: torch.dtype) -> "LowRankVectors":
        """Put the factors of all experts side by side.

        Args:
            factors: the two factors of each expert's task vector, (m, R_i) and (R_i, n).
            weight: the pretrained parameter.
            dtype: the data type in which they are stored.
        """
        owners = [i for i, (left, _) in enumerate(factors) for _ in range(left.shape[1])]
        left = torch.cat([left for left, _ in factors], dim=1).to(dtype)
        right = torch.cat([right for _, right in factors]).to(dtype)
        columns = torch.tensor(owners, dtype=torch.int32, device=weight.device)
        return cls(left, right, columns, weight.shape, len(factors))

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

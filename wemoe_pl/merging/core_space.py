"""Merge adapters of low rank in the space that they share: Core Space (arXiv 2509.17786)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.checkpoints import LazyState, State, factors_of, shapes_of
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod, checked_states, frozen_copy
from wemoe_pl.merging.matrix_method import MatrixMethod, is_fused
from wemoe_pl.merging.tensor_method import tensor_of_all
from wemoe_pl.merging.tsv import TSVM
from wemoe_pl.moe.task_vectors import Model, add_task_vectors, lazy_task_vector


@dataclass(frozen=True)
class CoreSpace(MergeMethod):
    """Core Space merges small matrices, to which the task vectors of adapters are equal.

    The task vector of an adapter is a product B_t A_t of rank r. U is an orthonormal basis of the
    columns of all B_t, and V of the rows of all A_t. Every task vector is U M_t Vᵀ, with a core
    M_t = Uᵀ B_t A_t V of T r rows and columns. The method merges the cores to one, M, and Δ is
    U M Vᵀ. No matrix of the size of a weight is decomposed.

    This gives what the method itself gives for TSV-M and WUDI. Methods whose settings count
    singular values find fewer of them: Iso-C takes the mean of T r instead of min(m, n), so that
    its Δ is longer by that factor. If ranks differ, r is the largest.

    Matrices of which an expert knows no factors, since it is no adapter, are merged as they are.

    Args:
        method: the method that merges the cores, which is one for matrices, such as TSVM.
    """

    is_static = True

    method: MergeMethod = field(default_factory=TSVM)

    def __post_init__(self) -> None:
        """Refuse a method that does not merge matrices."""
        if not isinstance(self.method, MatrixMethod):
            raise MergeError(
                f"CoreSpace merges matrices, and {self.method.label} does not: choose for `method` "
                "one such as TSVM, IsoC or WUDI."
            )

    @property
    def label(self) -> str:
        """Return the names of the method and of the space."""
        return f"{self.method.label} in core space"

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return a frozen encoder with the weights θ0 + α Δ."""
        assert isinstance(self.method, MatrixMethod)  # as was checked when it was made
        base = pretrained.state_dict()
        states = checked_states(base, experts)
        vectors = [lazy_task_vector(base, state) for state in states]
        merged = LazyState(
            shapes_of(vectors[0]), lambda key: merged_tensor(self.method, key, vectors)
        )
        return frozen_copy(pretrained, add_task_vectors(base, [merged], self.method.factor))


def merged_tensor(method: MergeMethod, key: str, vectors: Sequence[State]) -> Tensor:
    """Return Δ of one tensor from the task vectors of all experts.

    Args:
        method: a `MatrixMethod`, which also merges all tensors that are no matrices.
        key: the key of the tensor.
        vectors: the task vector of each expert, which may know its factors.
    """
    assert isinstance(method, MatrixMethod)
    shape = shapes_of(vectors[0])[key]
    known = [factors_of(vector, key) for vector in vectors] if len(shape) == 2 else []
    factors = [found for found in known if found]
    if len(factors) < len(vectors):
        return method.merged_tensor(key, tensor_of_all(vectors, key))
    parts = 3 if method.split_qkv and is_fused(key) else 1
    lefts = zip(*(left.chunk(parts) for left, _ in factors), strict=True)
    rights = [right for _, right in factors]
    return torch.cat([in_core(method.combine, left, rights) for left in lefts]).view(shape)


def in_core(
    combine: Callable[[Tensor], Tensor], lefts: Sequence[Tensor], rights: Sequence[Tensor]
) -> Tensor:
    """Merge products of thin matrices in the space that they share.

    Args:
        combine: the function from T matrices, (T, p, q), to one, (p, q).
        lefts: the left factors, (m, R_t) each.
        rights: the right factors, (R_t, n) each.

    Returns:
        Δ, (m, n).
    """
    # TSV-M keeps an equal share of the core's singular values for every expert: with room for the
    # largest rank in each share, none of an expert is cut off because others have a smaller rank.
    rank = max(left.shape[1] for left in lefts)
    lefts = [F.pad(left, (0, rank - left.shape[1])) for left in lefts]
    rights = [F.pad(right, (0, 0, 0, rank - len(right))) for right in rights]
    columns, rows = torch.cat(lefts, dim=1), torch.cat(rights)
    if 0 in columns.shape:
        return columns.new_zeros(len(columns), rows.shape[1])
    left, right = torch.linalg.qr(columns).Q, torch.linalg.qr(rows.mT).Q
    pairs = zip(lefts, rights, strict=True)
    cores = torch.stack([(left.mT @ one) @ (other @ right) for one, other in pairs])
    return left @ combine(cores) @ right.mT

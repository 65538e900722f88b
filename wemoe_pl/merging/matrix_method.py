"""Static methods that merge matrices by an idea of their own, and average everything else."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.merging.tensor_method import TensorMethod, check_alpha

QUERY_KEY_VALUE = ".qkv.weight"  # timm's name for the three matrices of attention in one


@dataclass(frozen=True)
class MatrixMethod(TensorMethod):
    """θ0 + α Δ, where Δ of a matrix is computed from the task vectors' matrices.

    Matrices are the weights of linear layers and the embedding of positions. Of every other tensor
    (biases, norms, the convolution of patches) Δ is the mean of the task vectors.

    Args:
        alpha: α, the scaling coefficient of the merged task vector, 0 or more.
        split_qkv: timm has one matrix for queries, keys and values. Merge it as three, as code for
            checkpoints of Hugging Face does, instead of as one, as code for those of open_clip
            does; the results differ.
    """

    alpha: float = 1.0
    split_qkv: bool = False

    def __post_init__(self) -> None:
        """Refuse an α out of range before anything is loaded."""
        check_alpha(self.alpha)

    @property
    def factor(self) -> float:
        """The number by which Δ is multiplied as a whole."""
        return self.alpha

    def merged_tensor(self, key: str, vectors: Tensor) -> Tensor:
        """Δ of one tensor, from the T task vectors of it, (T, *shape)."""
        if not self.is_matrix(vectors[0]):
            return vectors.mean(dim=0)
        return as_matrices(self.combine, vectors, 3 if self.split_qkv and is_fused(key) else 1)

    def is_matrix(self, tensor: Tensor) -> bool:
        """Is a tensor a matrix, apart from dimensions of size 1?"""
        return tensor.ndim == 2 or len(matrix_shape(tensor)) == 2

    @abstractmethod
    def combine(self, matrices: Tensor) -> Tensor:
        """Δ of a matrix: its task vectors (T, m, n) → (m, n)."""


def as_matrices(combine: Callable[[Tensor], Tensor], tensors: Tensor, parts: int = 1) -> Tensor:
    """Make one tensor of several that are matrices, which may have dimensions of size 1.

    Args:
        combine: matrices (T, m, n), in single precision at least → (m, n).
        tensors: (T, *shape).
        parts: into how many parts of as many rows each the matrices are cut, which are combined by
            themselves.
    """
    matrices = tensors.to(torch.promote_types(tensors.dtype, torch.float32))
    matrices = matrices.reshape(len(tensors), *matrix_shape(tensors[0]))
    combined = torch.cat([combine(part) for part in matrices.chunk(parts, dim=1)])
    return combined.reshape(tensors.shape[1:]).to(tensors.dtype)


def matrix_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape of a tensor as a matrix: timm's embedding of positions is (1, N, D)."""
    return tensor.shape if tensor.ndim == 2 else tuple(size for size in tensor.shape if size > 1)


def is_fused(key: str) -> bool:
    """Are these the weights of queries, keys and values in one matrix?"""
    return f".{key}".endswith(QUERY_KEY_VALUE)

"""Define static methods that merge matrices in their own way, and average all other tensors."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.merging.tensor_method import TensorMethod, check_alpha

QUERY_KEY_VALUE = ".qkv.weight"  # timm's name for the three matrices of attention in one


@dataclass(frozen=True)
class MatrixMethod(TensorMethod):
    """A matrix method gives θ0 + α Δ, and computes Δ of a matrix from the task vectors' matrices.

    Matrices are the weights of linear layers and the embedding of positions. For every other tensor
    (biases, norms, the convolution of patches) Δ is the mean of the task vectors.

    Args:
        alpha: α, the scaling coefficient of the merged task vector, 0 or more.
        split_qkv: True to merge timm's one matrix of queries, keys and values as three, as code for
            checkpoints of Hugging Face does. Code for those of open_clip merges it as one, with
            other results.
    """

    alpha: float = 1.0
    split_qkv: bool = False

    def __post_init__(self) -> None:
        """Refuse an α out of range before anything is loaded."""
        check_alpha(self.alpha)

    @property
    def factor(self) -> float:
        """Return `alpha`, by which Δ is multiplied as a whole."""
        return self.alpha

    def merged_tensor(self, key: str, vectors: Tensor) -> Tensor:
        """Return Δ of one tensor, from its T task vectors, (T, *shape)."""
        if not self.is_matrix(vectors[0]):
            return vectors.mean(dim=0)
        return as_matrices(self.combine, vectors, 3 if self.split_qkv and is_fused(key) else 1)

    def is_matrix(self, tensor: Tensor) -> bool:
        """Return whether a tensor is a matrix, apart from dimensions of size 1."""
        return tensor.ndim == 2 or len(matrix_shape(tensor)) == 2

    @abstractmethod
    def combine(self, matrices: Tensor) -> Tensor:
        """Return Δ of a matrix, (m, n), from its task vectors (T, m, n)."""


def as_matrices(combine: Callable[[Tensor], Tensor], tensors: Tensor, parts: int = 1) -> Tensor:
    """Combine tensors that are matrices, apart from dimensions of size 1, into one.

    Args:
        combine: the function from matrices (T, m, n), in single precision at least, to one (m, n).
        tensors: the tensors, (T, *shape).
        parts: the number of parts into which the rows of a matrix are cut; each is combined by
            itself.
    """
    matrices = tensors.to(torch.promote_types(tensors.dtype, torch.float32))
    matrices = matrices.reshape(len(tensors), *matrix_shape(tensors[0]))
    combined = torch.cat([combine(part) for part in matrices.chunk(parts, dim=1)])
    return combined.reshape(tensors.shape[1:]).to(tensors.dtype)


def matrix_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of a tensor as a matrix: timm's embedding of positions is (1, N, D)."""
    return tensor.shape if tensor.ndim == 2 else tuple(size for size in tensor.shape if size > 1)


def is_fused(key: str) -> bool:
    """Return whether a key names the weights of queries, keys and values in one matrix."""
    return f".{key}".endswith(QUERY_KEY_VALUE)

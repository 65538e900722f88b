"""Define a linear layer whose weights are merged anew for every sample."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import TaskVectors


@dataclass(frozen=True)
class MergedLayer:
    """A `MergedLayer` is a linear layer with the weights W0 + Σ_i r_bi τ_i.

    Attributes:
        weight: the pretrained weight W0, (m, n).
        vectors: the task vectors of the weight.
        bias: the pretrained bias, (m,), or None.
        bias_vectors: the task vectors of the bias, or None.
    """

    weight: Tensor
    vectors: TaskVectors
    bias: Tensor | None
    bias_vectors: TaskVectors | None

    @classmethod
    def of(cls, linear: nn.Module, vectors: Mapping[str, TaskVectors], name: str) -> "MergedLayer":
        """Combine a linear layer with its task vectors.

        Args:
            linear: the layer that holds the pretrained weights.
            vectors: the task vectors of parameters by their names.
            name: the name of the layer.
        """
        bias = linear.bias if isinstance(linear.bias, Tensor) else None
        of_weight, of_bias = vectors[f"{name}.weight"], vectors.get(f"{name}.bias")
        return cls(linear.get_parameter("weight"), of_weight, bias, of_bias)

    @property
    def layers(self) -> "tuple[MergedLayer, ...]":
        """Return a tuple of this layer alone."""
        return (self,)

    def converted(self, dtype: torch.dtype) -> int:
        """Return the number of matrices to convert: task vectors and W0; 0 if none is converted."""
        return self.vectors.count + 1 if self.vectors.converts(dtype) else 0

    def merged_bias(self, routing_weights: Tensor) -> Tensor:
        """Map routing weights (B, T) → the bias of every sample, (B, m); zeros if there is none."""
        if self.bias is None or self.bias_vectors is None:
            return routing_weights.new_zeros(routing_weights.shape[0], len(self.weight))
        return self.bias.to(routing_weights.dtype) + self.bias_vectors.mix(routing_weights)


# A kernel maps the layer, routing weights (B, T) and tokens (B, N, n) → (B, N, m).
LinearKernel = Callable[[MergedLayer, Tensor, Tensor], Tensor]


def by_sample(x: Tensor, routing_weights: Tensor) -> Tensor:
    """Reshape (B, …, n) → (B, N, n), or (1, B · N, n) if all share one row of routing weights.

    Raises:
        MergeError: x does not have a sample for every row.
    """
    rows = routing_weights.shape[0]  # `len` would fix it in an exported program
    if rows == 1:
        return x.reshape(1, -1, x.shape[-1])
    if rows != x.shape[0]:
        raise MergeError(f"A layer was given {tuple(x.shape)} for a batch of {rows}.")
    return x.flatten(1, -2) if x.ndim > 2 else x[:, None]

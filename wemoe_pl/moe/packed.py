"""Define packed task vectors, which are unpacked anew, all or some, whenever they are used."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from wemoe_pl.moe.compression import TaskVectors


class PackedVectors(TaskVectors):
    """A `PackedVectors` unpacks task vectors to mix them, and does not keep them unpacked.

    Attributes:
        shape: the shape of the parameter.
        column_major: True if it is a matrix whose columns lie in memory one after another.
    """

    shape: torch.Size
    column_major: bool

    @abstractmethod
    def unpacked(self, dtype: torch.dtype) -> Tensor:
        """Return all entries in their order in memory, (T, n)."""

    def mix(self, routing_weights: Tensor) -> Tensor:
        """Unpack all task vectors, and add them up by their routing weights."""
        mixed: Tensor = MixUnpacked.apply(routing_weights, self)
        if self.column_major:
            return mixed.unflatten(1, self.shape[::-1]).mT
        return mixed.unflatten(1, self.shape)


class MixUnpacked(torch.autograd.Function):
    """The function Σ_i r_bi τ_i of packed task vectors unpacks them anew in its backward pass."""

    @staticmethod
    def forward(ctx: Any, routing_weights: Tensor, vectors: PackedVectors) -> Tensor:
        """Map routing weights (B, T) → (B, n)."""
        ctx.vectors = vectors
        return routing_weights @ vectors.unpacked(routing_weights.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Map the gradient (B, n) → the gradient of the routing weights, (B, T)."""
        (gradient,) = gradients
        return gradient @ ctx.vectors.unpacked(gradient.dtype).T, None

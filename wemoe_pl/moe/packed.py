"""Packed task vectors: their numbers are made anew, all or some, whenever they are used."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from wemoe_pl.moe.compression import TaskVectors


class PackedVectors(TaskVectors):
    """Task vectors that are unpacked to be mixed, and kept so for no longer.

    Attributes:
        shape: the shape of the parameter.
        column_major: is it a matrix whose columns lie in memory one after another?
    """

    shape: torch.Size
    column_major: bool

    @abstractmethod
    def unpacked(self, dtype: torch.dtype) -> Tensor:
        """Return all entries in their order in memory, (T, n)."""

    def mix(self, routing_weights: Tensor) -> Tensor:
        """Unpack all task vectors, and add them up."""
        mixed: Tensor = MixUnpacked.apply(routing_weights, self)
        if self.column_major:
            return mixed.unflatten(1, self.shape[::-1]).mT
        return mixed.unflatten(1, self.shape)


class MixUnpacked(torch.autograd.Function):
    """Σ_i r_bi τ_i of packed task vectors; they are unpacked anew in the backward pass."""

    @staticmethod
    def forward(ctx: Any, routing_weights: Tensor, vectors: PackedVectors) -> Tensor:
        """(B, T) → (B, n)."""
        ctx.vectors = vectors
        return routing_weights @ vectors.unpacked(routing_weights.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """(B, n) → the gradient of the routing weights, (B, T)."""
        (gradient,) = gradients
        return gradient @ ctx.vectors.unpacked(gradient.dtype).T, None

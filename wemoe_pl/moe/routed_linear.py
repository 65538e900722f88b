"""A linear layer that adds to every token the low-rank task vector of the expert it is like."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import frozen


class RoutedTaskVectors(nn.Module):
    """Σ_i r_i (U_i Σ_i V_iᵀ x + β_i), with routing weights r of every token's own.

    They are the softmax over experts of ‖V_iᵀ x‖, which is how much of a token x lies along the
    leading singular vectors of a task vector. All but the largest few are then 0, and these sum to
    one.

    Args:
        left: (m, T, k), the singular vectors U_i times the singular values Σ_i.
        right: (T, K, n), the singular vectors V_iᵀ, of which the first k belong to `left`. Rows of
            0 stand for what a task vector does not have.
        bias: (T, m), the task vectors β_i of the bias; None if the layer has none.
        router_rank: how many of the K route, from the first on.
        experts_per_token: how many routing weights are not 0, if there are as many experts.
    """

    bias: Tensor | None

    def __init__(
        self,
        left: Tensor,
        right: Tensor,
        bias: Tensor | None,
        router_rank: int,
        experts_per_token: int = 1,
    ):
        super().__init__()
        self.left, self.right = frozen(left), frozen(right)
        self.register_parameter("bias", None if bias is None else frozen(bias))
        self.router_rank = router_rank
        self.experts_per_token = min(experts_per_token, len(right))

    def forward(self, x: Tensor) -> Tensor:
        """(…, n) → (…, m)."""
        along = F.linear(x, self.right.flatten(0, 1)).unflatten(-1, self.right.shape[:2])
        routing_weights = self.route(along[..., : self.router_rank])
        weighted = along[..., : self.left.shape[2]] * routing_weights[..., None]
        added = F.linear(weighted.flatten(-2), self.left.flatten(1))
        return added if self.bias is None else added + routing_weights @ self.bias

    def route(self, along: Tensor) -> Tensor:
        """Coordinates of tokens along the routing singular vectors (…, T, g) → weights (…, T)."""
        weights = along.norm(dim=-1).softmax(dim=-1)
        largest = weights.topk(self.experts_per_token, dim=-1)
        kept = largest.values / largest.values.sum(dim=-1, keepdim=True)
        return torch.zeros_like(weights).scatter(-1, largest.indices, kept)


class RoutedLinear(nn.Module):
    """A pretrained linear layer, plus task vectors that are routed for every token.

    Args:
        linear: of n inputs and m outputs; it is taken over and frozen.
        parts: the task vectors of some rows each, from the first on; three for queries, keys and
            values that route by themselves, and else one.
    """

    def __init__(self, linear: nn.Linear, parts: Sequence[RoutedTaskVectors]):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """(…, n) → (…, m)."""
        return self.linear(x) + torch.cat([part(x) for part in self.parts], dim=-1)

    @property
    def weight(self) -> Tensor:
        """Refuse to give a matrix, with which some attention computes instead of calling the layer.

        Raises:
            MergeError: always.
        """
        raise MergeError(
            "This encoder reads the matrix of a linear layer, and there is none that is the same "
            "for every token: choose another merge method than SMILE for it. Attention of BEiT and "
            "of some EVA models does so."
        )

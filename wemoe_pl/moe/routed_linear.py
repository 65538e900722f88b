"""Define a linear layer that adds low-rank task vectors, which every token chooses by itself."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import frozen


class RoutedTaskVectors(nn.Module):
    """A `RoutedTaskVectors` gives Σ_i r_i (U_i Σ_i V_iᵀ x + β_i), with r for every token x.

    The routing weights r are the softmax over experts of ‖V_iᵀ x‖, which is how much of a token
    lies along the leading singular vectors of a task vector. All but the largest few are then set
    to 0, and the rest are scaled to sum to one.

    Args:
        left: the singular vectors U_i times the singular values Σ_i, (m, T, k).
        right: the singular vectors V_iᵀ, (T, K, n); the first k belong to `left`. Rows of 0 stand
            for singular vectors that a task vector does not have.
        bias: the task vectors β_i of the bias, (T, m); None if the layer has none.
        router_rank: the number of the K singular vectors that route, from the first on.
        experts_per_token: the number of routing weights that are not 0, if there are as many
            experts.
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
        """Map tokens (…, n) → (…, m)."""
        along = F.linear(x, self.right.flatten(0, 1)).unflatten(-1, self.right.shape[:2])
        routing_weights = self.route(along[..., : self.router_rank])
        weighted = along[..., : self.left.shape[2]] * routing_weights[..., None]
        added = F.linear(weighted.flatten(-2), self.left.flatten(1))
        return added if self.bias is None else added + routing_weights @ self.bias

    def route(self, along: Tensor) -> Tensor:
        """Map coordinates along the routing singular vectors (…, T, g) → weights (…, T)."""
        weights = along.norm(dim=-1).softmax(dim=-1)
        largest = weights.topk(self.experts_per_token, dim=-1)
        kept = largest.values / largest.values.sum(dim=-1, keepdim=True)
        return torch.zeros_like(weights).scatter(-1, largest.indices, kept)


class RoutedLinear(nn.Module):
    """A `RoutedLinear` adds to a pretrained linear layer task vectors routed for every token.

    Args:
        linear: the layer, of n inputs and m outputs; it is taken over and frozen.
        parts: the task vectors of some rows each, from the first on; three if queries, keys and
            values route by themselves, else one.
    """

    def __init__(self, linear: nn.Linear, parts: Sequence[RoutedTaskVectors]):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (…, n) → (…, m)."""
        return self.linear(x) + torch.cat([part(x) for part in self.parts], dim=-1)

    @property
    def weight(self) -> Tensor:
        """Refuse to give a matrix: some attention would use it instead of calling the layer.

        Raises:
            MergeError: always.
        """
        raise MergeError(
            "This encoder reads the matrix of a linear layer, as the attention of BEiT and of some "
            "EVA models does, but SMILE has no matrix that is the same for every token: choose "
            "another merge method for it."
        )

"""Define `Router`, which maps a sample's tokens to one weight per expert (paper §3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.kernels import hidden_mean
from wemoe_pl.moe.scaling import DEFAULT_SCALING, check_scaling

ROUTER_DEPTHS = (0, 1, 2)
ROUTER_INIT_STD = 0.01


def check_router(depth: int, width: int | None = None) -> None:
    """Raise `MergeError` unless the depth is 0, 1 or 2; a width, from 1, needs a depth of 2."""
    if depth not in ROUTER_DEPTHS:
        raise MergeError(f"router_depth is {depth}: choose 0, 1 or 2; the paper uses 2.")
    if width is not None and width < 1:
        raise MergeError(f"router_width is {width}: give a number of hidden units from 1.")
    if width is not None and depth != 2:
        raise MergeError(
            f"router_width is {width}, and a router of depth {depth} has no hidden layer: set "
            "router_depth to 2, or leave the width out."
        )


@dataclass(frozen=True)
class Gate:
    """A gate is the last step of a router: it turns scores into routing weights.

    By default the scores are the routing weights, as in the paper: they need not sum to one, and
    may be negative.

    Args:
        softmax: True if the routing weights are shares: the softmax of the scores over experts.
        temperature: the divisor of the scores before the softmax; a smaller one favours the largest
            score.
        top_k: the number of largest routing weights that are kept; the others are set to 0. Shares
            are made to sum to one again.

    >>> Gate(softmax=True, top_k=2)(torch.tensor([[1.0, 1.0, 0.0]]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """

    softmax: bool = False
    temperature: float = 1.0
    top_k: int | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range, and a temperature without a softmax."""
        if not 0.0 < self.temperature < float("inf"):
            raise MergeError(f"temperature of a gate is {self.temperature}: give one above 0.")
        if self.temperature != 1.0 and not self.softmax:
            raise MergeError(
                f"temperature of a gate is {self.temperature}, but only a softmax has a "
                "temperature: set `softmax: true`, or leave the temperature out."
            )
        if self.top_k is not None and self.top_k < 1:
            raise MergeError(f"top_k of a gate is {self.top_k}: give a number of experts from 1.")

    def __call__(self, scores: Tensor) -> Tensor:
        """Map scores (B, T) → routing weights (B, T)."""
        if self.top_k is None or self.top_k >= scores.shape[-1]:
            return self.weights(scores)
        largest = scores.topk(self.top_k, dim=-1)
        kept = self.weights(largest.values)
        return torch.zeros_like(scores).scatter(-1, largest.indices, kept)

    def weights(self, scores: Tensor) -> Tensor:
        """Map the scores of the experts that are kept → their routing weights."""
        return (scores / self.temperature).softmax(dim=-1) if self.softmax else scores


NO_GATE = Gate()


class Router(nn.Module):
    """A router maps the input of a module to one routing weight per expert.

    The routing weight is the scaling coefficient of the expert's task vector.

    Depth 0 is a free vector, depth 1 `Linear(D, T)`, depth 2 `Linear(D, H) → ReLU → Linear(H, T)`.
    Weights start at N(0, init_std²), the last bias at λ: at first all samples get task arithmetic.

    Args:
        dim: D, the width of the tokens.
        num_experts: T, the number of experts.
        init_lambda: the scaling coefficient λ, the initial score of every expert.
        depth: the depth of the router: 0, 1 or 2.
        init_std: the standard deviation of the initial weights.
        gate: the gate that turns scores into routing weights. Those of a softmax start at 1 / T.
        width: H, the number of hidden units; by default D, as published.

    >>> Router(dim=8, num_experts=3, depth=1)(torch.zeros(2, 5, 8))
    tensor([[0.3000, 0.3000, 0.3000],
            [0.3000, 0.3000, 0.3000]], grad_fn=<AddmmBackward0>)
    """

    def __init__(
        self,
        dim: int,
        num_experts: int,
        init_lambda: float = DEFAULT_SCALING,
        depth: int = 2,
        init_std: float = ROUTER_INIT_STD,
        gate: Gate = NO_GATE,
        width: int | None = None,
    ):
        super().__init__()
        check_scaling(init_lambda)
        check_router(depth, width)
        self.dim, self.width, self.depth, self.gate = dim, width or dim, depth, gate
        if depth == 0:
            self.weights = nn.Parameter(torch.full((num_experts,), float(init_lambda)))
            return
        self.hidden = nn.Linear(dim, self.width) if depth == 2 else None
        self.out = nn.Linear(self.width, num_experts)
        for layer in (self.hidden, self.out):
            if layer is not None:
                nn.init.normal_(layer.weight, std=init_std)
                nn.init.zeros_(layer.bias)
        nn.init.constant_(self.out.bias, init_lambda)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) or features (B, D) → routing weights (B, T).

        The scores of a sample are averaged over its tokens.
        """
        if self.depth == 0:
            return self.of_all.expand(x.shape[0], -1)
        return self.gate(self.out(self.seen(x)))

    def seen(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) or features (B, D) → the input of the last layer, (B, H).

        The last layer is linear, so averaging over tokens before it gives the same for less work.
        """
        tokens = x if x.ndim == 3 else x[:, None]
        if self.hidden is None:
            return tokens.mean(dim=1)
        return hidden_mean(tokens, self.hidden.weight, self.hidden.bias)

    @property
    def of_all(self) -> Tensor:
        """Return the routing weights (1, T) that a router of depth 0 gives to all samples."""
        return self.gate(self.weights[None])

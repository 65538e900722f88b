"""Define a router that learns nothing: it projects samples to singular vectors of experts."""

import torch
from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import frozen
from wemoe_pl.moe.routed import Routed

LEAST_DEVIATION = 1e-6  # added, since all residuals may be equal, as in the code of MASS


class ProjectionRouter(Routed):
    """A `ProjectionRouter` chooses experts whose right singular vectors span most of a sample.

    The residual of expert i is r_i = ‖z − V_i V_iᵀ z‖. For every sample, −r is brought to a mean of
    0 and a deviation of 1 over the experts; the softmax of that gives the routing weights. Those
    above the threshold are chosen, or else the largest, and all others are set to 0.

    Args:
        right: the leading singular vectors V_iᵀ, (T, k, n). Rows of 0 stand for missing ones.
        has_class_token: True if z is the first token of a sample, False if the mean of its tokens.
        temperature: the number above 0 that divides −r.
        threshold: the routing weight that a chosen expert exceeds, from 0 up to 1.
        most_experts: the largest number of chosen experts, from 1.

    Raises:
        MergeError: a value is out of range.

    >>> axes = torch.eye(3)[:, None]
    >>> ProjectionRouter(axes)(torch.tensor([[[5.0, 0.0, 0.0]]])).nonzero().tolist()
    [[0, 0]]
    """

    def __init__(
        self,
        right: Tensor,
        has_class_token: bool = True,
        temperature: float = 1.0,
        threshold: float = 0.2,
        most_experts: int = 3,
    ):
        super().__init__()
        check_choice(temperature, threshold, most_experts)
        self.right = frozen(right)
        self.has_class_token = has_class_token
        self.temperature, self.threshold = temperature, threshold
        self.most_experts = min(most_experts, len(right))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, n) → routing weights (B, T), 0 where an expert is not chosen."""
        sample = x[:, 0] if self.has_class_token else x.mean(dim=1)
        weights = self.choose(self.residuals(sample))
        self.record(weights)
        return weights

    def residuals(self, sample: Tensor) -> Tensor:
        """Return how much of each sample (B, n) lies outside every expert's span, (B, T)."""
        along = torch.einsum("bn,tkn->btk", sample, self.right)
        projected = torch.einsum("btk,tkn->btn", along, self.right)
        return (sample[:, None] - projected).norm(dim=-1)

    def choose(self, residuals: Tensor) -> Tensor:
        """Map residuals (B, T) → routing weights (B, T), 0 where an expert is not chosen."""
        if residuals.shape[1] == 1:
            return torch.ones_like(residuals)
        mean = residuals.mean(dim=1, keepdim=True)
        deviation = residuals.std(dim=1, keepdim=True) + LEAST_DEVIATION
        weights = ((mean - residuals) / deviation / self.temperature).softmax(dim=1)
        # A stable sort puts the first of equal weights first; `topk` promises no order.
        order = weights.argsort(dim=1, descending=True, stable=True)
        place = order.argsort(dim=1)
        chosen = (place == 0) | ((weights > self.threshold) & (place < self.most_experts))
        return weights * chosen


def check_choice(temperature: float, threshold: float, most_experts: int) -> None:
    """Raise `MergeError` if a value is out of range; see `ProjectionRouter`."""
    if not 0 < temperature < float("inf"):
        raise MergeError(f"temperature is {temperature}: choose a number above 0.")
    if not 0 <= threshold <= 1:
        raise MergeError(f"threshold is {threshold}: choose a routing weight from 0 to 1.")
    if most_experts < 1:
        raise MergeError(f"most_experts is {most_experts}: choose a number from 1.")

"""A router that learns nothing: it compares a sample with what the task vectors act on."""

import torch
from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import frozen
from wemoe_pl.moe.routed import Routed

LEAST_DEVIATION = 1e-6  # below which residuals are taken for equal, as in the code of MASS


class ProjectionRouter(Routed):
    """Chooses the experts along whose leading right singular vectors most of a sample lies.

    The residual of expert i is r_i = ‖z − V_i V_iᵀ z‖. Routing weights are the softmax of −r over
    the experts, after it was brought to a mean of 0 and a deviation of 1; all that are not chosen
    are then 0. Chosen are those above the threshold, or else the largest.

    Args:
        right: (T, k, n), the singular vectors V_iᵀ. Rows of 0 stand for what there is none of.
        has_class_token: is z the first token of a sample, and not the mean of its tokens?
        temperature: by which −r is divided, above 0.
        threshold: what a routing weight has to be above, from 0 up to 1.
        most_experts: how many are chosen at most, from 1.

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
        """Tokens (B, N, n) → routing weights (B, T), 0 where an expert is not chosen."""
        sample = x[:, 0] if self.has_class_token else x.mean(dim=1)
        weights = self.choose(self.residuals(sample))
        self.record(weights)
        return weights

    def residuals(self, sample: Tensor) -> Tensor:
        """Samples (B, n) → how much of each lies outside of every expert's span, (B, T)."""
        along = torch.einsum("bn,tkn->btk", sample, self.right)
        projected = torch.einsum("btk,tkn->btn", along, self.right)
        return (sample[:, None] - projected).norm(dim=-1)

    def choose(self, residuals: Tensor) -> Tensor:
        """Residuals (B, T) → routing weights (B, T) of the experts that are chosen."""
        if residuals.shape[1] == 1:
            return torch.ones_like(residuals)
        mean = residuals.mean(dim=1, keepdim=True)
        deviation = residuals.std(dim=1, keepdim=True) + LEAST_DEVIATION
        weights = ((mean - residuals) / deviation / self.temperature).softmax(dim=1)
        # Of equal ones the first: `topk` promises no order.
        order = weights.argsort(dim=1, descending=True, stable=True)
        place = order.argsort(dim=1)
        chosen = (place == 0) | ((weights > self.threshold) & (place < self.most_experts))
        return weights * chosen


def check_choice(temperature: float, threshold: float, most_experts: int) -> None:
    """Raise `MergeError` for a value out of range; see `ProjectionRouter`."""
    if not 0 < temperature < float("inf"):
        raise MergeError(f"temperature is {temperature}: choose a number above 0.")
    if not 0 <= threshold <= 1:
        raise MergeError(f"threshold is {threshold}: choose a routing weight from 0 to 1.")
    if most_experts < 1:
        raise MergeError(f"most_experts is {most_experts}: choose a number from 1.")

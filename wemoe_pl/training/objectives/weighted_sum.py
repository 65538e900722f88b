"""Combine several objectives into one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from wemoe_pl.errors import ConfigError
from wemoe_pl.training.objectives.base import Objective, check_objective, loss_of, needs_of
from wemoe_pl.training.objectives.outputs import AdaptationOutputs, Need


@dataclass(frozen=True)
class WeightedSum(Objective):
    """A weighted sum is the sum of several objectives, each times its weight.

    Args:
        objectives: the objectives: one or more, which may be sums themselves.
        weights: the weight of each, from 0; by default all are 1.

    >>> from wemoe_pl import Distillation, InformationMaximisation
    >>> both = WeightedSum([InformationMaximisation(), Distillation()], [1.0, 0.5])
    >>> both.needs, both.least_images
    (('expert_logits',), 2)
    """

    objectives: list[Objective]
    weights: list[float] | None = None

    def __post_init__(self) -> None:
        """Refuse an empty sum, and weights that are not one per objective, finite and from 0."""
        if not self.objectives:
            raise ConfigError("objectives is empty: give at least one objective.")
        for part in self.objectives:
            check_objective(part)
        if self.weights is not None and len(self.weights) != len(self.objectives):
            raise ConfigError(
                f"weights has length {len(self.weights)}, and objectives {len(self.objectives)}: "
                "give a weight for each, or leave weights out."
            )
        for weight in self.weights or ():
            if not 0 <= weight < math.inf:
                raise ConfigError(f"weights has {weight}: give finite numbers from 0.")

    @property
    def needs(self) -> Sequence[Need]:  # type: ignore[override]  # of this sum, not of its class
        """Return the inputs that any of the objectives needs."""
        return tuple(sorted(frozenset().union(*map(needs_of, self.objectives))))

    @property
    def least_images(self) -> int:
        """Return the largest number of images that any of the objectives needs."""
        return max(part.least_images for part in self.objectives)

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the weighted sum of the losses."""
        weights = self.weights or [1.0] * len(self.objectives)
        losses = [loss_of(part, outputs) for part in self.objectives]
        products = [weight * loss for weight, loss in zip(weights, losses, strict=True)]
        return sum(products[1:], start=products[0])

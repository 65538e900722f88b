"""Objectives that are no part of the package, as a user would write them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wemoe_pl import AdaptationOutputs, Objective


@dataclass(frozen=True)
class Everything(Objective):
    """Looks at all that there is, in a way that depends on the whole batch."""

    needs = ("features", "routing_weights", "images", "expert_logits", "expert_features")

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        brightness = outputs.images.mean(dim=(1, 2, 3))
        alike = torch.corrcoef(outputs.features).square().mean()
        even = outputs.routing_weights.var(dim=0).sum() + outputs.routing_weights.square().mean()
        agreement = F.mse_loss(outputs.logits, outputs.expert_logits)
        agreement = agreement + F.mse_loss(outputs.features, outputs.expert_features)
        weights = (brightness - brightness.mean()).abs()
        return agreement + alike + even + (weights[:, None] * outputs.logits).square().mean()

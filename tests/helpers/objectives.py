"""Objectives that are no part of the package, as a user would write them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wemoe_pl import AdaptationOutputs, Objective


@dataclass(frozen=True)
class Distillation(Objective):
    """Agree with each task's own expert.

    Args:
        temperature: by which logits are divided.
    """

    temperature: float = 2.0
    needs = ("expert_logits",)

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        student = (outputs.logits / self.temperature).log_softmax(dim=-1)
        teacher = (outputs.expert_logits / self.temperature).softmax(dim=-1)
        return F.kl_div(student, teacher, reduction="batchmean")


@dataclass(frozen=True)
class Everything(Objective):
    """Looks at all that there is, in a way that depends on the whole batch."""

    needs = ("features", "routing_weights", "images", "expert_logits")

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        brightness = outputs.images.mean(dim=(1, 2, 3))
        alike = torch.corrcoef(outputs.features).square().mean()
        even = outputs.routing_weights.var(dim=0).sum() + outputs.routing_weights.square().mean()
        agreement = F.mse_loss(outputs.logits, outputs.expert_logits)
        weights = (brightness - brightness.mean()).abs()
        return agreement + alike + even + (weights[:, None] * outputs.logits).square().mean()

"""Average the experts, weighted by Fisher information: Fisher merging (arXiv 2111.09832)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional as F

from wemoe_pl.merging.from_samples import SampleMethod, Sums
from wemoe_pl.moe.task_vectors import Model


@dataclass(frozen=True)
class Fisher(SampleMethod):
    """Fisher merging gives Σ F_i θ_i ÷ Σ F_i per entry, F_i being expert i's Fisher information.

    F_i is diagonal and empirical: the sum, over labelled samples of the expert's task, of the
    squared gradient of the log probability of the label. All tasks must give equally many samples.
    """

    needs_labels: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """Return the published name."""
        return "Fisher Merging"

    def start(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> Sums:
        """Return sums of two numbers per weight."""
        return FisherSums(pretrained)


class FisherSums(Sums):
    """`FisherSums` holds Σ F and Σ F θ of every parameter."""

    def __init__(self, pretrained: nn.Module):
        weights = dict(pretrained.named_parameters())
        self.information = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        self.weighted = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    def add(
        self, task: str, expert: nn.Module, head: nn.Module, images: Tensor, labels: Tensor
    ) -> None:
        """Add the squared gradient of every sample; one at a time is held in memory."""
        weights = {name: weight.detach() for name, weight in expert.named_parameters()}

        def negative_log_probability(
            weights: dict[str, Tensor], image: Tensor, label: Tensor
        ) -> Tensor:
            features = functional_call(expert, weights, (image[None],))
            return F.cross_entropy(head(features), label[None])

        for image, label in zip(images, labels, strict=True):
            gradients = grad(negative_log_probability)(weights, image, label)
            for name, gradient in gradients.items():
                squared = gradient.square()
                self.information[name] += squared
                self.weighted[name].addcmul_(squared, weights[name])

    def solve(self, averages: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted mean, or the simple mean of entries without any information."""
        return {
            name: torch.where(total > 0, self.weighted[name] / total, averages[name])
            for name, total in self.information.items()
        }

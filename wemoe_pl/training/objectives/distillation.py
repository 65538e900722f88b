"""Define objectives by which a merged model imitates the predictions or features of experts."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from wemoe_pl.errors import ConfigError
from wemoe_pl.training.objectives.base import Objective
from wemoe_pl.training.objectives.outputs import AdaptationOutputs


@dataclass(frozen=True)
class Distillation(Objective):
    """The objective is the Kullback–Leibler divergence from the predictions of the task's expert.

    It is KL(expert ‖ merged model) of softmax(logits / T), in nats, times T², which keeps gradients
    at the same size for any T (Hinton et al., arXiv 1503.02531; MINGLE takes T = 2).

    Args:
        temperature: the temperature T, above 0. A larger one gives more weight to the classes that
            the expert does not predict.

    >>> import torch
    >>> logits = torch.tensor([[1.0, 0.0]])
    >>> outputs = AdaptationOutputs("mnist", logits, {"expert_logits": logits + 3})
    >>> Distillation()(outputs).item()
    0.0
    """

    temperature: float = 2.0
    needs = ("expert_logits",)

    def __post_init__(self) -> None:
        """Refuse a temperature out of range."""
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature is {self.temperature}: give a number above 0.")

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the mean over the images of a task."""
        ours = (outputs.logits / self.temperature).log_softmax(dim=-1)
        theirs = (outputs.expert_logits / self.temperature).log_softmax(dim=-1)
        divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return self.temperature**2 * divergence


@dataclass(frozen=True)
class FeatureMatching(Objective):
    """The objective is the distance between the model's features and those of the task's expert.

    Features are the input of the head. The distance is a plain mean over images and features: it
    ignores how near they are to a border between classes (Representation Surgery, arXiv
    2402.02705, takes |x|).

    Args:
        distance: the distance of two numbers: "l1" is |x|, and "smooth_l1" is x²/2 where |x| is
            below 1, and |x| − 1/2 elsewhere.
    """

    distance: Literal["l1", "smooth_l1"] = "l1"
    needs = ("features", "expert_features")

    def __post_init__(self) -> None:
        """Refuse an unknown distance."""
        if self.distance not in ("l1", "smooth_l1"):
            raise ConfigError(f"distance is '{self.distance}': choose l1 or smooth_l1.")

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the mean over the images of a task, and over their features."""
        distance = F.l1_loss if self.distance == "l1" else F.smooth_l1_loss
        return distance(outputs.features, outputs.expert_features)

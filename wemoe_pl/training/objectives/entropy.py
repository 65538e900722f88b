"""The objectives of the literature: entropy, and information maximisation."""

import math
from dataclasses import dataclass

from torch import Tensor

from wemoe_pl.errors import ConfigError
from wemoe_pl.model.entropy import entropy, mean_entropy
from wemoe_pl.training.objectives.base import Objective
from wemoe_pl.training.objectives.outputs import AdaptationOutputs


@dataclass(frozen=True)
class Entropy(Objective):
    """The mean entropy of the predictions, in nats: the paper's objective."""

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the mean over the images of a task."""
        return mean_entropy(outputs.logits)


@dataclass(frozen=True)
class InformationMaximisation(Objective):
    """The mean entropy of the predictions, less a multiple of the entropy of their mean.

    Predictions are to be certain and, over a batch, different, which cannot be reached by
    predicting one class (SHOT, arXiv 2002.08546).

    Args:
        diversity: weight of the second term, from 0.
        reliable: leave images out of the mean entropy whose own is above this share of log C
            (EATA, arXiv 2204.02610, takes 0.4): what a model knows nothing about only misleads it.
    """

    diversity: float = 1.0
    reliable: float | None = None

    def __post_init__(self) -> None:
        """Refuse options out of range."""
        if not self.diversity >= 0:
            raise ConfigError(f"diversity is {self.diversity}: give a number from 0.")
        if self.reliable is not None and not 0 < self.reliable <= 1:
            raise ConfigError(
                f"reliable is {self.reliable}: give a number above 0, up to 1, or null."
            )

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the loss, in nats."""
        log_probabilities = outputs.logits.log_softmax(dim=-1)
        entropies = entropy(log_probabilities)
        loss = entropies.mean()
        if self.reliable is not None:
            largest = math.log(outputs.logits.shape[-1])
            trusted = (entropies.detach() <= self.reliable * largest).to(entropies)
            loss = (trusted * entropies).sum() / trusted.sum().clamp(min=1)
        if self.diversity:
            log_mean = log_probabilities.logsumexp(dim=0) - math.log(len(log_probabilities))
            loss = loss - self.diversity * entropy(log_mean)
        return loss

    @property
    def least_images(self) -> int:
        """Two for the second term: one image is its own mean, and at 1 the terms cancel."""
        return 2 if self.diversity else 1


def with_old_options(
    objective: Objective | None, diversity: float, reliable: float | None
) -> Objective:
    """Return the objective that is meant by options from before there were objectives.

    `diversity` and `reliable` were options of the adaptation itself, and make information
    maximisation of the entropy.

    Raises:
        ConfigError: they are given with another objective, or are out of range.
    """
    if not diversity and reliable is None:
        return Entropy() if objective is None else objective
    if objective is None or type(objective) is Entropy:
        return InformationMaximisation(diversity, reliable)
    old = f"diversity is {diversity}" if diversity else f"reliable is {reliable}"
    raise ConfigError(
        f"model.{old} and model.objective is {type(objective).__name__}: leave out "
        f"model.{old.partition(' ')[0]}, which is an option of the objective "
        "InformationMaximisation."
    )

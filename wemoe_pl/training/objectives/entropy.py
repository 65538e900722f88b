"""Define the objectives of the literature: entropy and information maximisation."""

import math
from dataclasses import dataclass

from torch import Tensor

from wemoe_pl.errors import ConfigError
from wemoe_pl.model.entropy import entropy, mean_entropy
from wemoe_pl.training.objectives.base import Objective
from wemoe_pl.training.objectives.outputs import AdaptationOutputs


@dataclass(frozen=True)
class Entropy(Objective):
    """The objective is the mean entropy of the predictions, in nats, as in the paper."""

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the mean over the images of a task."""
        return mean_entropy(outputs.logits)


@dataclass(frozen=True)
class InformationMaximisation(Objective):
    """The objective is the mean entropy of predictions, less a multiple of their mean's entropy.

    Its minimum has predictions that are certain and, over a batch, different, so it does not
    collapse to one class (SHOT, arXiv 2002.08546).

    Args:
        diversity: the weight of the second term, from 0.
        reliable: the share of log C above which an image's entropy is left out of the mean (EATA,
            arXiv 2204.02610, takes 0.4): images that the model cannot classify mislead it.
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
        """Return 2 if the second term counts, since for one image it is that image's own entropy.

        With a weight of 1, the two terms would then cancel.
        """
        return 2 if self.diversity else 1


def with_old_options(
    objective: Objective | None, diversity: float, reliable: float | None
) -> Objective:
    """Return the objective that is meant by options of versions without objectives.

    In those versions, `diversity` and `reliable` were options of the adaptation itself. They turn
    the entropy into information maximisation.

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

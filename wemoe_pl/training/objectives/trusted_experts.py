"""Define an objective that learns from the experts that are certain about the images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from wemoe_pl.errors import ConfigError
from wemoe_pl.training.objectives.base import Objective, check_objective, loss_of, needs_of
from wemoe_pl.training.objectives.distillation import Distillation
from wemoe_pl.training.objectives.entropy import InformationMaximisation
from wemoe_pl.training.objectives.outputs import AdaptationOutputs, Need
from wemoe_pl.training.objectives.weighted_sum import WeightedSum

LEAST_CERTAIN = 0.15  # between experts that taught better and worse than robust.yaml adapts


@dataclass(frozen=True)
class TrustedExperts(Objective):
    """The objective learns a task from its expert, unless the expert is too uncertain about it.

    An expert is too uncertain if the mean entropy of its predictions for the first images of the
    stream is larger than a share of log C, the entropy of C equally probable classes. This is found
    out before the first step, without labels.

    Args:
        teacher: the objective for the tasks whose experts are certain enough.
        otherwise: the objective for the other tasks.
        uncertainty: the largest mean entropy of an expert that is certain enough, as a share of
            log C, from 0 to 1.

    >>> TrustedExperts().needs, TrustedExperts().least_images
    (('expert_logits', 'expert_uncertainty'), 2)
    """

    teacher: Objective = field(default_factory=Distillation)
    otherwise: Objective = field(default_factory=lambda: InformationMaximisation(reliable=0.4))
    uncertainty: float = LEAST_CERTAIN

    def __post_init__(self) -> None:
        """Refuse a share out of range."""
        check_objective(self.teacher)
        check_objective(self.otherwise)
        if not 0 <= self.uncertainty <= 1:
            raise ConfigError(f"uncertainty is {self.uncertainty}: give a number from 0 to 1.")

    @property
    def needs(self) -> Sequence[Need]:  # type: ignore[override]  # of its parts, not of its class
        """Return the inputs that either objective needs, and the uncertainty of the expert."""
        of_parts = needs_of(self.teacher) | needs_of(self.otherwise)
        return tuple(sorted(of_parts | {"expert_uncertainty"}))

    @property
    def least_images(self) -> int:
        """Return the larger of the numbers of images that the two objectives need."""
        return max(self.teacher.least_images, self.otherwise.least_images)

    def trusts(self, uncertainty: float) -> bool:
        """Return whether an expert of this mean entropy, a share of log C, is certain enough."""
        return uncertainty <= self.uncertainty

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the loss by the teacher, or by the other objective."""
        trusted = self.trusts(outputs.expert_uncertainty.mean().item())
        return loss_of(self.teacher if trusted else self.otherwise, outputs)


def note_on_experts(objective: Objective, uncertainty: Mapping[str, float]) -> str:
    """Return a note on the tasks that are not learned from their experts, or an empty text.

    Args:
        objective: the objective of the adaptation, which may be a sum.
        uncertainty: the mean entropy of each task's expert, as a share of log C.

    >>> note_on_experts(TrustedExperts(), {"cars": 0.32, "mnist": 0.01})
    'The experts are too uncertain about these images to learn from (above 0.15 log C): cars 0.32.'
    """
    if isinstance(objective, WeightedSum):
        notes = (note_on_experts(part, uncertainty) for part in objective.objectives)
        return " ".join(filter(None, notes))
    if not isinstance(objective, TrustedExperts):
        return ""
    poor = {task: u for task, u in uncertainty.items() if not objective.trusts(u)}
    if not poor:
        return ""
    return (
        "The experts are too uncertain about these images to learn from (above "
        f"{objective.uncertainty:g} log C): {', '.join(f'{t} {u:.2f}' for t, u in poor.items())}."
    )

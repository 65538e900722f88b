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

LARGEST_SHIFT = 0.07  # between experts that taught better and worse than robust.yaml adapts


@dataclass(frozen=True)
class TrustedExperts(Objective):
    """The objective learns a task from its expert, unless the expert is less certain than it was.

    An expert is too uncertain if the mean entropy of its predictions for the first images of the
    stream is larger than that for images it knows (`data.compare_with`) by more than a share of
    log C, the entropy of C equally probable classes. This is found out before the first step,
    without labels.

    Args:
        teacher: the objective for the tasks whose experts are certain enough.
        otherwise: the objective for the other tasks.
        shift: the largest increase of the mean entropy of an expert that is certain enough, as a
            share of log C, from -1 to 1.

    >>> TrustedExperts().needs, TrustedExperts().least_images
    (('expert_logits', 'expert_shift'), 2)
    """

    teacher: Objective = field(default_factory=Distillation)
    otherwise: Objective = field(default_factory=lambda: InformationMaximisation(reliable=0.4))
    shift: float = LARGEST_SHIFT

    def __post_init__(self) -> None:
        """Refuse a share out of range."""
        check_objective(self.teacher)
        check_objective(self.otherwise)
        if not -1 <= self.shift <= 1:
            raise ConfigError(f"shift is {self.shift}: give a number from -1 to 1.")

    @property
    def needs(self) -> Sequence[Need]:  # type: ignore[override]  # of its parts, not of its class
        """Return the inputs that either objective needs, and the shift of the expert."""
        of_parts = needs_of(self.teacher) | needs_of(self.otherwise)
        return tuple(sorted(of_parts | {"expert_shift"}))

    @property
    def least_images(self) -> int:
        """Return the larger of the numbers of images that the two objectives need."""
        return max(self.teacher.least_images, self.otherwise.least_images)

    def trusts(self, shift: float) -> bool:
        """Return whether an expert whose mean entropy has grown by this share is certain enough."""
        return shift <= self.shift

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the loss by the teacher, or by the other objective."""
        trusted = self.trusts(outputs.expert_shift.mean().item())
        return loss_of(self.teacher if trusted else self.otherwise, outputs)


def note_on_experts(objective: Objective, shift: Mapping[str, float]) -> str:
    """Return a note on the tasks that are not learned from their experts, or an empty text.

    Args:
        objective: the objective of the adaptation, which may be a sum.
        shift: the increase of the mean entropy of each task's expert, as a share of log C.

    >>> note_on_experts(TrustedExperts(), {"cars": 0.32, "mnist": 0.01})  # doctest: +ELLIPSIS
    'Some experts are ... by more than 0.07 log C, and are not learned from: cars 0.32.'
    """
    if isinstance(objective, WeightedSum):
        notes = (note_on_experts(part, shift) for part in objective.objectives)
        return " ".join(filter(None, notes))
    if not isinstance(objective, TrustedExperts):
        return ""
    poor = {task: by for task, by in shift.items() if not objective.trusts(by)}
    if not poor:
        return ""
    return (
        f"Some experts are less certain about these images than about those of data.compare_with, "
        f"by more than {objective.shift:g} log C, and are not learned from: "
        f"{', '.join(f'{task} {by:.2f}' for task, by in poor.items())}."
    )

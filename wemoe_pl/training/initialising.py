"""Look at a few images of every task before the first step: for routers, and to judge experts."""

from typing import Protocol

import lightning as L
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from torch import Tensor

from wemoe_pl.data.suite import Suite
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.system.warn import warn
from wemoe_pl.training.experts import EXPERT_UNCERTAINTY, JUDGED_IMAGES, ExpertAnswers
from wemoe_pl.training.objectives.base import Objective, needs_of
from wemoe_pl.training.objectives.trusted_experts import note_on_experts


class Beginning(Protocol):
    """`Beginning` is the part of a `TestTimeAdaptation` that `initialise` needs; see there."""

    suite: Suite
    merge: MergeMethod
    classifier: MultiTaskClassifier

    @property
    def trainer(self) -> L.Trainer:
        """Return the trainer of the fit."""


def initialise(module: Beginning) -> None:
    """Initialise the merge method from the first images of the stream, the same in all processes.

    Raises:
        ConfigError: the images come from a data module that is not wemoe_pl's.
    """
    wanted = module.merge.initial_images
    who, remedy = f"{module.merge.label} begins", "set model.merge.start_images to 0"
    images = first_images(module.trainer, wanted, who, remedy)
    fewest = min(map(len, images.values()))
    if fewest < wanted:
        rank_zero_only(warn)(
            f"{module.merge.label} was to begin with {wanted} images of every task, and begins "
            f"with all that the stream has, of some task {fewest}."
        )
    in_order = {task: images[task] for task in module.suite.experts}
    module.merge.initialise(module.classifier.encoder, in_order)


def judge_experts(module: Beginning, experts: ExpertAnswers, objective: Objective) -> str:
    """Let the experts be judged by the first images of the stream, if the objective needs it.

    Returns:
        A note on the experts that are not learned from, which is also printed; or an empty text.

    Raises:
        ConfigError: the images come from a data module that is not wemoe_pl's.
    """
    if EXPERT_UNCERTAINTY not in needs_of(objective):
        return ""
    who, remedy = "TrustedExperts judges the experts", "choose another objective"
    experts.judge(first_images(module.trainer, JUDGED_IMAGES, who, remedy))
    if note := note_on_experts(objective, experts.uncertainty):
        rank_zero_info(note)
    return note


def first_images(trainer: L.Trainer, count: int, who: str, remedy: str) -> dict[str, Tensor]:
    """Return the first images of every task's stream, at most `count` of each, (N, 3, H, W).

    Args:
        trainer: the trainer, whose data module has the stream.
        count: the number of images of each task.
        who: the beginning of the error, which says who asks for them, such as "WEMoE begins".
        remedy: the setting that does without them.

    Raises:
        ConfigError: the images come from a data module that is not wemoe_pl's.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, VisionData):
        raise ConfigError(
            f"{who} with {count} images of every task, which it asks a data module of wemoe_pl "
            f"for: {remedy}, or adapt on MultiTaskData."
        )
    return data.step_batches().first(count)

"""Look at a few images of every task before the first step: for routers, and to judge experts."""

from typing import Protocol

import lightning as L
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.system.warn import warn
from wemoe_pl.training.experts import EXPERT_SHIFT, JUDGED_IMAGES, ExpertAnswers
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
    data, wanted = getattr(module.trainer, "datamodule", None), module.merge.initial_images
    if not isinstance(data, VisionData):
        raise ConfigError(
            f"{module.merge.label} begins with {wanted} images of every task, which only a data "
            "module of wemoe_pl can give it: set model.merge.start_images to 0, or adapt on "
            "MultiTaskData."
        )
    images = data.step_batches().first(wanted)
    fewest = min(map(len, images.values()))
    if fewest < wanted:
        rank_zero_only(warn)(
            f"{module.merge.label} was to begin with {wanted} images of every task, but the stream "
            f"has fewer (for one task only {fewest}): it begins with all that there are."
        )
    in_order = {task: images[task] for task in module.suite.experts}
    module.merge.initialise(module.classifier.encoder, in_order)


def judge_experts(module: Beginning, experts: ExpertAnswers, objective: Objective) -> str:
    """Let the experts be judged by the first images of the stream, if the objective needs it.

    Returns:
        A note on the experts that are not learned from, which is also printed; or an empty text.

    Raises:
        ConfigError: see `check_compares`.
    """
    if EXPERT_SHIFT not in needs_of(objective):
        return ""
    data = getattr(module.trainer, "datamodule", None)
    check_compares(objective, data)
    assert isinstance(data, MultiTaskData)  # as it was just checked
    streamed = data.step_batches().first(JUDGED_IMAGES)
    experts.judge(streamed, data.compared_images(JUDGED_IMAGES))
    if note := note_on_experts(objective, experts.shift):
        rank_zero_info(note)
    return note


def check_compares(objective: Objective, data: object) -> None:
    """Raise `ConfigError` if an objective judges experts, and the data has nothing to compare with.

    Args:
        objective: the objective of the adaptation.
        data: the data module; others than wemoe_pl's have nothing to compare with.
    """
    if EXPERT_SHIFT not in needs_of(objective):
        return
    if not isinstance(data, MultiTaskData) or not data.sets.compared:
        raise ConfigError(
            "The objective compares the experts' predictions for the stream with those for images "
            "that they know: set data.compare_with to train, or choose another objective."
        )

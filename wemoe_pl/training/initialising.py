"""Initialise merge methods that begin to adapt by a look at a few images of every task."""

from typing import Protocol

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

from wemoe_pl.data.suite import Suite
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.system.warn import warn


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
            f"{module.merge.label} begins with {wanted} images of every task, which it asks a data "
            "module of wemoe_pl for: set model.merge.start_images to 0, or adapt on MultiTaskData."
        )
    images = data.step_batches().first(wanted)
    fewest = min(map(len, images.values()))
    if fewest < wanted:
        rank_zero_only(warn)(
            f"{module.merge.label} was to begin with {wanted} images of every task, and begins "
            f"with all that the stream has, of some task {fewest}."
        )
    in_order = {task: images[task] for task in module.suite.experts}
    module.merge.initialise(module.classifier.encoder, in_order)

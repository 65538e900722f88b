"""Measure how sure experts are of their answers, on a few unlabelled images of their own tasks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wemoe_pl.checkpoints import State
from wemoe_pl.checkpoints.heads import ClassificationHead
from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import Images, Split, VisionTask
from wemoe_pl.errors import DataError
from wemoe_pl.model.entropy import mean_entropy

AT_ONCE = 32  # images in a forward pass
SPLITS_IN_ORDER: tuple[Split, ...] = (
    "test",
    "train",
)  # in the order in which images are looked for


@dataclass(frozen=True)
class Confidence:
    """A `Confidence` says how sure an expert is of its answers.

    Args:
        probability: the mean, over images, of the largest probability, 0 to 1.
        entropy: the mean entropy of the predictions ÷ log C, 0 to 1; 0 for a single class.
        images: the number of images.
        split: the split that the images are from.
    """

    probability: float
    entropy: float
    images: int
    split: Split


def measure_confidence(
    suite: Suite,
    experts: Mapping[str, State],
    heads: Mapping[str, ClassificationHead],
    images: int,
) -> dict[str, Confidence | str]:
    """Show every expert a few images of its task; a task without images gets the reason.

    Args:
        suite: the suite of the tasks.
        experts: the weights of the experts, by task.
        heads: the heads of the tasks that have one that fits.
        images: the number of images of every task, at most.
    """
    encoder, preprocessing = suite.load_pretrained(), Preprocessing(suite.backbone)
    found: dict[str, Confidence | str] = {}
    for task, head in heads.items():
        try:
            split, chosen = few_pixels(suite.task(task), preprocessing, images)
        except DataError as error:
            found[task] = str(error)
            continue
        encoder.load_state_dict(dict(experts[task]))
        with torch.no_grad():
            logits = torch.cat([head(encoder(batch)) for batch in chosen.split(AT_ONCE)])
        found[task] = confidence_of(logits, split)
    return found


def few_pixels(task: VisionTask, preprocessing: Preprocessing, count: int) -> tuple[Split, Tensor]:
    """Return some images of a task, (N, C, H, W), and their split.

    They are spread evenly over the split, since folders list images class by class.

    Raises:
        DataError: there is no image in any split.
    """
    split, images = first_split(task)
    places = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return split, torch.stack([preprocessing(images[int(place)][0]) for place in places])


def first_split(task: VisionTask) -> tuple[Split, Images]:
    """Return the first split that has images, the test images if there are any."""
    reasons = []
    for split in SPLITS_IN_ORDER:
        try:
            images = task.images(split)
        except DataError as error:
            reasons.append(str(error))
            continue
        if len(images):
            return split, images
    raise DataError(reasons[0] if reasons else "There are no images.")


def confidence_of(logits: Tensor, split: Split) -> Confidence:
    """Return the confidence of predictions, whose logits are (N, C)."""
    largest = logits.softmax(dim=-1).amax(dim=-1)
    count, classes = logits.shape
    scale = math.log(classes) if classes > 1 else 1.0
    return Confidence(
        probability=largest.mean().item(),
        entropy=mean_entropy(logits).item() / scale,
        images=count,
        split=split,
    )

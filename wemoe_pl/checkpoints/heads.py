"""Define classification heads, stored as safetensors with class names, and usually frozen."""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.checkpoints import Weights, open_weights, save_tensors
from wemoe_pl.checkpoints.peft import MERGE_FIRST
from wemoe_pl.checkpoints.sources import HEAD_FILE as HEAD_FILE
from wemoe_pl.errors import CheckpointError, check_class_names

THIN_HEAD = re.compile(r"(^|\.)head\.lora_[AB]\.")
PROTOTYPE_LOGIT_SCALE = 10.0  # low, since class vectors from few images are imprecise
# The keys of a head's weight: in a file of its own, and in an encoder that has a head.
LINEAR_WEIGHTS = ("weight", "head.weight")


class ClassificationHead(nn.Module):
    """The base class of all heads holds one frozen vector per class, and the class names.

    Args:
        weight: (C, D), one vector per class.
        classes: C class names in label order.

    Raises:
        CheckpointError: the weight and the names do not fit together, or a name is empty.
    """

    def __init__(self, weight: Tensor, classes: Sequence[str]):
        super().__init__()
        check_class_names(classes, "A head", CheckpointError)
        if weight.ndim != 2 or len(weight) != len(classes):
            raise CheckpointError(
                f"A head has one vector per class, but a weight of shape {tuple(weight.shape)} "
                f"was given with {len(classes)} class names."
            )
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.classes = tuple(classes)


class CosineHead(ClassificationHead):
    """A cosine head scales cosine similarities to the class vectors, as CLIP's zero-shot heads do.

    logits = logit_scale · normalised feature · normalised class vectorᵀ

    Args:
        weight: (C, D), one vector per class.
        classes: C class names in label order.
        logit_scale: the factor of the cosines, about 100 for CLIP.

    >>> head = CosineHead(torch.eye(2), ["cat", "dog"], logit_scale=10.0)
    >>> head(torch.tensor([[3.0, 0.0]]))
    tensor([[10.,  0.]])
    """

    def __init__(self, weight: Tensor, classes: Sequence[str], logit_scale: float):
        super().__init__(weight, classes)
        self.logit_scale = logit_scale

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, C) of features (B, D), in float32 even for a half-precision model.

        In bfloat16, logits near 30 are multiples of 0.125, so that classes tie.
        """
        with torch.autocast(features.device.type, enabled=False):
            features, weight = single(features), single(self.weight)
            return self.logit_scale * F.normalize(features, dim=-1) @ F.normalize(weight, dim=-1).T


class LinearHead(ClassificationHead):
    """A linear head is the last layer of a classifier: logits = features · weightᵀ + bias.

    Args:
        weight: (C, D), one vector per class.
        classes: C class names in label order.
        bias: (C,), one number per class.
        normalize: True if features are divided by their norm first, as in CLIP's heads.

    >>> head = LinearHead(torch.eye(2), ["cat", "dog"], bias=torch.tensor([0.0, 1.0]))
    >>> head(torch.tensor([[3.0, 0.0]]))
    tensor([[3., 1.]])
    """

    def __init__(
        self, weight: Tensor, classes: Sequence[str], bias: Tensor, normalize: bool = False
    ):
        super().__init__(weight, classes)
        self.normalize = normalize
        if bias.shape != weight.shape[:1]:
            raise CheckpointError(
                f"A head has one bias per class, but biases of shape {tuple(bias.shape)} were "
                f"given for {len(weight)} classes."
            )
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, C) of features (B, D), in float32 even for a half-precision model."""
        with torch.autocast(features.device.type, enabled=False):
            features = single(features)
            features = F.normalize(features, dim=-1) if self.normalize else features
            return F.linear(features, single(self.weight), single(self.bias))


def trainable(head: ClassificationHead) -> LinearHead:
    """Return a copy of a head that gives the same logits and can be trained in all its numbers.

    A cosine head becomes a linear head of normalised features, as the code of CLIP's fine-tuning
    trains it: its class vectors are as long as the logit scale, and its bias begins at 0.

    Args:
        head: the head, of either kind; it is left unchanged.

    >>> head = CosineHead(torch.eye(2), ["cat", "dog"], logit_scale=10.0)
    >>> trainable(head)(torch.tensor([[3.0, 0.0]])).tolist()
    [[10.0, 0.0]]
    """
    weight = single(head.weight.detach())
    if isinstance(head, CosineHead):
        weight = head.logit_scale * F.normalize(weight, dim=-1)
        copy = LinearHead(weight, head.classes, torch.zeros_like(weight[:, 0]), normalize=True)
    else:
        assert isinstance(head, LinearHead)
        bias = single(head.bias.detach()).clone()
        copy = LinearHead(weight.clone(), head.classes, bias, head.normalize)
    return copy.requires_grad_()


def single(values: Tensor) -> Tensor:
    """Return numbers in float32, or in their own precision if that is higher."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def load_head(source: str, class_names: Callable[[], Sequence[str]] = tuple) -> ClassificationHead:
    """Read a head of either kind.

    Args:
        source: a file, a folder, a hub id or `shipped:…`. It has a head that this program wrote,
            or a whole timm classifier, whose last layer (`head.weight`, `head.bias`) is taken.
        class_names: a function that returns the class names in label order, for a file without
            them.

    Raises:
        CheckpointError: the head is missing, damaged, or of another number of classes, or the file
            has no head.
    """
    weights = open_weights(source, HEAD_FILE)
    key = head_key(weights)
    if key is None and (thin := next(filter(THIN_HEAD.search, weights), None)):
        raise CheckpointError(
            f"{weights.name} has '{thin}', a LoRA of a head, which is not read: train the head as "
            f"a whole (`modules_to_save`), or {MERGE_FIRST}."
        )
    if key is None or len(weights.shapes[key]) != 2:
        raise CheckpointError(
            f"{weights.name} is not a classification head: expected a matrix 'weight', with the "
            "metadata 'classes' and 'logit_scale', or a classifier's 'head.weight'."
        )
    names, logit_scale, normalize = metadata_of(weights)
    names = names or tuple(class_names())
    check_class_names(names, f"The head in {weights.name}", CheckpointError)
    count = weights.shapes[key][0]
    if len(names) != count:
        raise CheckpointError(
            f"The head in {weights.name} has {count} classes, but its images have {len(names)}: "
            "use a head that was made for them, or give all its classes as `class_names`."
            if names
            else f"The head in {weights.name} does not name its {count} classes: give them as the "
            "task's `class_names`."
        )
    if logit_scale is not None:
        return CosineHead(weights[key], names, logit_scale)
    bias_key = key.removesuffix("weight") + "bias"
    bias = weights[bias_key] if bias_key in weights else torch.zeros(count)
    return LinearHead(weights[key], names, bias, normalize)


def head_key(weights: Weights) -> str | None:
    """Return the key of a head's weight, or None if no single key can be it.

    The key may be behind a prefix, unless there is one without a prefix.
    """
    behind_prefix = [key for key in weights if key.endswith(f".{LINEAR_WEIGHTS[-1]}")]
    known = [key for key in LINEAR_WEIGHTS if key in weights]
    return next(iter(known or (behind_prefix if len(behind_prefix) == 1 else ())), None)


def metadata_of(weights: Weights) -> tuple[tuple[str, ...], float | None, bool]:
    """Return the class names and logit scale of a head's file, if it has any, and `normalize`."""
    try:
        classes = json.loads(weights.metadata.get("classes", "[]"))
        scale = weights.metadata.get("logit_scale")
        normalize = json.loads(weights.metadata.get("normalize", "false"))
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise ValueError(classes)
        if scale is not None and not math.isfinite(float(scale)):
            raise ValueError(scale)
        if not isinstance(normalize, bool):
            raise ValueError(normalize)
        return tuple(classes), None if scale is None else float(scale), normalize
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"The metadata of {weights.name} is damaged: expected a list of 'classes' and a number "
            "'logit_scale', or 'normalize' as true or false."
        ) from error


def head_path(folder: Path, task: str) -> Path:
    """Return the path of a task's head in the folder of a run that writes several."""
    return folder / "heads" / f"{task}.safetensors"


def save_head(
    path: Path, head: ClassificationHead, metadata: dict[str, str], dtype: torch.dtype | None = None
) -> None:
    """Write a head with its class names; the file is never left incomplete."""
    own = {"classes": json.dumps(head.classes)}
    if isinstance(head, CosineHead):
        own["logit_scale"] = repr(head.logit_scale)
    if isinstance(head, LinearHead) and head.normalize:
        own["normalize"] = "true"
    save_tensors(path, head.state_dict(), metadata | own, dtype)


@torch.no_grad()
def prototype_head(
    encoder: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    classes: Sequence[str],
    logit_scale: float = PROTOTYPE_LOGIT_SCALE,
) -> CosineHead:
    """Build a head whose class vectors are the mean normalised features of labelled images.

    It replaces a zero-shot head if there is no text tower: it is built once from the pretrained
    encoder, and stays frozen while the expert is fine-tuned.

    Args:
        encoder: the encoder, which maps images to features (B, D).
        batches: images (B, 3, H, W) with labels (B,); every class must occur.
        classes: class names in label order.
        logit_scale: the factor of the cosines.

    Raises:
        CheckpointError: a class has no images; the message names it.
    """
    sums: Tensor | None = None
    device = next(encoder.parameters()).device
    for images, labels in batches:
        features = F.normalize(encoder(images.to(device)), dim=-1)
        sums = features.new_zeros(len(classes), features.shape[1]) if sums is None else sums
        sums.index_add_(0, labels.to(device), features)
    if sums is None:
        raise CheckpointError("A head cannot be built without images.")
    for name, vector in zip(classes, sums, strict=True):
        if not vector.any():
            raise CheckpointError(
                f"A head cannot be built: class '{name}' has no images; give at least one image of "
                "each class."
            )
    return CosineHead(F.normalize(sums, dim=-1), classes, logit_scale)

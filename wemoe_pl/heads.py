"""Classification heads: frozen, stored as safetensors with their class names."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.checkpoints import read_tensors, save_tensors, weights_path
from wemoe_pl.errors import CheckpointError

HEAD_FILE = "head.safetensors"
PROTOTYPE_LOGIT_SCALE = 10.0  # soft: class vectors from few images are imprecise


class ClassificationHead(nn.Module):
    """A cosine head, of the form that CLIP's zero-shot heads have.

    logits = logit_scale · normalised feature · normalised class vectorᵀ

    Args:
        weight: (C, D), one vector per class.
        classes: C class names in label order.
        logit_scale: about 100 for CLIP.

    >>> head = ClassificationHead(torch.eye(2), ["cat", "dog"], logit_scale=10.0)
    >>> head(torch.tensor([[3.0, 0.0]]))
    tensor([[10.,  0.]])
    """

    def __init__(self, weight: Tensor, classes: Sequence[str], logit_scale: float):
        super().__init__()
        if weight.ndim != 2 or len(weight) != len(classes):
            raise CheckpointError(
                f"A head has one vector per class, but a weight of shape {tuple(weight.shape)} "
                f"was given with {len(classes)} class names."
            )
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.classes = tuple(classes)
        self.logit_scale = logit_scale

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, D) → logits (B, C)."""
        return self.logit_scale * F.normalize(features, dim=-1) @ F.normalize(self.weight, dim=-1).T


def load_head(source: str) -> ClassificationHead:
    """Read a head from a file, a folder with `head.safetensors`, or `shipped:…`.

    Raises:
        CheckpointError: missing, damaged, or not a head.
    """
    path = weights_path(source, HEAD_FILE)
    tensors, metadata = read_tensors(path)
    no_head = CheckpointError(
        f"{path} is no classification head: expected one tensor 'weight' and the metadata "
        "'classes' and 'logit_scale'."
    )
    if set(tensors) != {"weight"}:
        raise no_head
    try:
        classes, logit_scale = json.loads(metadata["classes"]), float(metadata["logit_scale"])
    except (KeyError, ValueError) as error:
        raise no_head from error
    return ClassificationHead(tensors["weight"], classes, logit_scale)


def save_head(
    path: Path,
    head: ClassificationHead,
    metadata: dict[str, str],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a head with its class names, whole or not at all."""
    own = {"classes": json.dumps(head.classes), "logit_scale": repr(head.logit_scale)}
    save_tensors(path, {"weight": head.weight}, metadata | own, dtype)


@torch.no_grad()
def prototype_head(
    encoder: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    classes: Sequence[str],
    logit_scale: float = PROTOTYPE_LOGIT_SCALE,
) -> ClassificationHead:
    """A new head whose class vectors are the mean normalised features of labelled images.

    It stands in for a zero-shot head where there is no text tower: built once from the
    pretrained encoder, then frozen while the expert is fine-tuned.

    Args:
        encoder: images → features (B, D).
        batches: images (B, 3, H, W) with labels (B,); every class must occur.
        classes: class names in label order.
        logit_scale: multiplies the cosines.

    Raises:
        CheckpointError: a class has no image; names it.
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
                f"A head cannot be built: class '{name}' has no images; give at least one of each."
            )
    return ClassificationHead(F.normalize(sums, dim=-1), classes, logit_scale)

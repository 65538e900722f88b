"""Refuse weights that lack keys of the backbone, have more keys, or have other shapes."""

import math
import re
from collections.abc import Iterable, Mapping

import torch

from wemoe_pl.checkpoints.backbone import Backbone
from wemoe_pl.checkpoints.forms import HEAD_KEY
from wemoe_pl.errors import CheckpointError

BLOCK_KEY = re.compile(r"(?:blocks|encoder\.layers|transformer\.resblocks)\.(\d+)\.")
POSITIONS = "pos_embed"
SAME_MODEL = "Use weights that were fine-tuned from the same pretrained model."
Shapes = Mapping[str, torch.Size]


def check_encoder_keys(
    name: str, shapes: Shapes, backbone: Backbone, keys_in_file: Iterable[str]
) -> None:
    """Raise `CheckpointError` unless weights have exactly the keys and shapes of a backbone.

    Args:
        name: the file.
        shapes: the shapes of its weights by timm's keys, or by its own keys if they are unknown.
        backbone: the architecture that the weights should have.
        keys_in_file: all keys of the tower, which can tell an architecture if the shapes do not.
    """
    if difference := first_difference(shapes, backbone.shapes):
        theirs = architecture({**dict.fromkeys(keys_in_file), **shapes})
        ours = architecture(dict(backbone.shapes))
        other = f", since it is a transformer of {theirs} and the backbone is one of {ours}"
        raise CheckpointError(
            f"{name} does not fit the backbone '{backbone.model}'"
            f"{'' if theirs in (None, ours) else other}: {difference}. "
            f"{advice(shapes, backbone) if theirs == ours else SAME_MODEL}"
        )


def advice(shapes: Shapes, backbone: Backbone) -> str:
    """Return the advice about weights of the backbone's architecture that still do not fit it.

    The weights may have other parts next to them, or be for larger images: there is a position
    embedding for every patch, and there are some for the tokens before the patches.
    """
    if backbone.shapes.items() <= shapes.items():
        return "All of the backbone's weights are there: save those of the encoder alone."
    ours, theirs = (state.get(POSITIONS, torch.Size([0])) for state in (backbone.shapes, shapes))
    patches = getattr(backbone.skeleton(), "patch_embed", None)
    if ours == theirs or ours[::2] != theirs[::2] or patches is None:
        return SAME_MODEL
    side = math.isqrt(max(0, theirs[1] - ours[1] + patches.num_patches))
    if side**2 != theirs[1] - ours[1] + patches.num_patches:
        return SAME_MODEL
    size = side * patches.patch_size[0]
    return f"Set `img_size: {size}` among the options of the backbone, or use other weights."


def check_text_keys(name: str, shapes: Shapes, reference: Shapes) -> None:
    """Raise `CheckpointError` unless weights have exactly the keys and shapes of a text tower."""
    if difference := first_difference(shapes, reference):
        raise CheckpointError(
            f"The text tower in {name} does not fit the `text_tower` of the suite: "
            f"{difference}. Give the name under which open_clip knows this model."
        )


def architecture(shapes: Mapping[str, torch.Size | None]) -> str | None:
    """Describe the width, depth and patch size of a vision transformer; return None if unknown.

    >>> patches = torch.Size([768, 3, 32, 32])
    >>> architecture({"patch_embed.proj.weight": patches, "blocks.0.norm1.bias": None})
    'width 768, depth 1 and patches of 32 pixels'
    """
    patches = shapes.get("patch_embed.proj.weight")
    if patches is None or len(patches) != 4:
        return None
    depth = len({found[1] for key in shapes if (found := BLOCK_KEY.match(key))})
    return f"width {patches[0]}, depth {depth} and patches of {patches[-1]} pixels"


def without_head(shapes: Shapes) -> dict[str, torch.Size]:
    """Return the shapes of an encoder without those of a classifier's last layer.

    >>> list(without_head({"norm.bias": torch.Size([2]), "head.bias": torch.Size([5])}))
    ['norm.bias']
    """
    return {key: shape for key, shape in shapes.items() if not HEAD_KEY.match(key)}


def first_difference(shapes: Shapes, reference: Shapes) -> str | None:
    """Describe the first key, in the reference's order, where two states differ; None if equal.

    >>> first_difference({"w": torch.Size([2])}, {"w": torch.Size([3])})
    "'w' has shape (2,) instead of (3,)"
    """
    for key, shape in reference.items():
        if key not in shapes:
            return f"'{key}' is missing"
        if shapes[key] != shape:
            return f"'{key}' has shape {tuple(shapes[key])} instead of {tuple(shape)}"
    unknown = next((key for key in shapes if key not in reference), None)
    return f"'{unknown}' is not a part of it" if unknown is not None else None

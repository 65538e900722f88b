"""Read hyperparameters that the shapes of weights do not tell, such as the activation."""

from collections.abc import Mapping
from typing import Any

from torch import nn

Hyperparameters = Mapping[str, str | float]

ACTIVATION = "activation"
ATTENTION_HEADS = "number of attention heads"
EPSILON = "epsilon of the layer norms"
IMAGE_SIZE = "image size"
PATCH_SIZE = "patch size"
PROJECTION_WIDTH = "projection width"
POOLING = "pooling"
MASK = "attention mask"

TOKEN, NORMED_MEAN, MEAN_NORMED = "class token", "mean after the norm", "mean before the norm"
CAUSAL = "causal"
TANH_GELU = "gelu_pytorch_tanh"
# Activations are known by the names of their classes: torch, timm and open_clip have their own.
ACTIVATION_NAMES = {
    "GELU": "gelu", "QuickGELU": "quick_gelu", "GELUTanh": TANH_GELU, "SiLU": "silu",
    "ReLU": "relu",
}  # fmt: skip


def activation_name(activation: nn.Module) -> str:
    """Return the name that Hugging Face uses for an activation.

    >>> activation_name(nn.GELU(approximate="tanh"))
    'gelu_pytorch_tanh'
    """
    if getattr(activation, "approximate", "none") == "tanh":
        return TANH_GELU
    name = type(activation).__name__
    return ACTIVATION_NAMES.get(name, name)


def encoder_hyperparameters(encoder: Any) -> Hyperparameters:
    """Return the hyperparameters that are found where timm's vision transformers have them."""
    found: dict[str, str | float] = {}
    block = next(iter(getattr(encoder, "blocks", ())), None)
    patches = getattr(encoder, "patch_embed", None)
    if isinstance(activation := part(block, "mlp", "act"), nn.Module):
        found[ACTIVATION] = activation_name(activation)
    if isinstance(heads := part(block, "attn", "num_heads"), int):
        found[ATTENTION_HEADS] = heads
    if isinstance(epsilon := part(block, "norm1", "eps"), float):
        found[EPSILON] = epsilon
    if size := part(patches, "img_size"):
        found[IMAGE_SIZE] = size_name(*size)
    if size := part(patches, "patch_size"):
        found[PATCH_SIZE] = size_name(*size)
    if encoder.num_classes:
        found[PROJECTION_WIDTH] = encoder.num_classes
    if pooling := getattr(encoder, "global_pool", None):
        has_norm = not isinstance(getattr(encoder, "fc_norm", None), nn.Identity | None)
        found[POOLING] = pooling_name(pooling, has_norm)
    return found


def part(module: Any, *names: str) -> Any:
    """Return the part of a module at these nested attributes; None if one of them is missing."""
    for name in names:
        module = getattr(module, name, None)
    return module


def pooling_name(pooling: str, norm_is_last: bool) -> str:
    """Return our name of the way to pool tokens into features, given timm's or open_clip's name."""
    mean = MEAN_NORMED if norm_is_last else NORMED_MEAN
    return {"token": TOKEN, "tok": TOKEN, "avg": mean}.get(pooling, pooling)


def size_name(height: int, width: int) -> str | int:
    """Return a size in pixels: a number for a square, otherwise a text such as '224×196'."""
    return height if height == width else f"{height}×{width}"


def text_hyperparameters(tower: Any) -> Hyperparameters:
    """Return the hyperparameters of an open_clip text tower."""
    block = tower.transformer.resblocks[0]
    return {
        ACTIVATION: activation_name(block.mlp.gelu),
        ATTENTION_HEADS: block.attn.num_heads,
        EPSILON: block.ln_1.eps,
        POOLING: tower.pool_type,
        MASK: "none" if tower.attn_mask is None else CAUSAL,
    }

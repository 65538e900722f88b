"""Recognise the architecture of an encoder in memory, so that other programs can build it."""

from collections.abc import Iterator
from typing import Any

import timm
from timm.data import resolve_data_config
from torch import nn

from wemoe_pl.checkpoints.backbone import Backbone
from wemoe_pl.checkpoints.hyperparameters import encoder_hyperparameters, part
from wemoe_pl.checkpoints.state import shapes_of
from wemoe_pl.errors import ConfigError

# The settings that preprocessing depends on.
OF_IMAGES = ("input_size", "mean", "std", "interpolation", "crop_mode")


def backbone_of(encoder: nn.Module) -> Backbone:
    """Return the backbone that builds encoders like one that timm has created.

    The backbone has the shapes and hyperparameters of the encoder, and prepares images in the same
    way: their size, mean, standard deviation and interpolation, and whether they are cropped.

    Args:
        encoder: a timm vision transformer.

    Raises:
        ConfigError: timm has not created the encoder, or used options that it does not show.
    """
    config = getattr(encoder, "pretrained_cfg", None) or {}
    name = config.get("architecture")
    kind = type(encoder).__name__
    if not name or not timm.is_model(name):
        raise ConfigError(
            f"Nothing tells which of timm's models this {kind} is: give its architecture, as "
            "`backbone=Backbone(MODEL, OPTIONS)`."
        )
    names = [name, f"{name}.{config['tag']}"] if config.get("tag") else [name]
    for options in option_sets(encoder, Backbone(name)):
        for candidate in names:
            backbone = Backbone(candidate, options)
            if is_like(encoder, backbone):
                return backbone
    raise ConfigError(
        f"This {kind} is a '{name}' of timm's that was created with options which it does not "
        "show: give them, as `backbone=Backbone(MODEL, OPTIONS)`."
    )


def option_sets(encoder: nn.Module, plain: Backbone) -> Iterator[dict[str, Any]]:
    """Yield sets of options that an encoder may have been created with, the smallest first."""
    width = int(getattr(encoder, "num_classes", 0) or 0)
    head = {"num_classes": width} if width else {}
    yield head
    own, usual = visible_options(encoder), visible_options(plain.skeleton())
    yield head | {name: value for name, value in own.items() if usual.get(name) != value}


def visible_options(encoder: Any) -> dict[str, Any]:
    """Return those options of `timm.create_model` that can be read from an encoder."""
    blocks = getattr(encoder, "blocks", ())
    block, patches = next(iter(blocks), None), getattr(encoder, "patch_embed", None)
    found = {
        "img_size": side_of(part(patches, "img_size")),
        "patch_size": side_of(part(patches, "patch_size")),
        "in_chans": part(patches, "proj", "in_channels"),
        "embed_dim": getattr(encoder, "embed_dim", None),
        "depth": len(blocks) or None,
        "num_heads": part(block, "attn", "num_heads"),
        "global_pool": getattr(encoder, "global_pool", None),
    }
    return {name: value for name, value in found.items() if value is not None}


def side_of(size: Any) -> Any:
    """Return the size of a square as one number, as options do; leave other sizes unchanged."""
    return size[0] if isinstance(size, tuple) and len(set(size)) == 1 else size


def is_like(encoder: Any, backbone: Backbone) -> bool:
    """Return whether a backbone has an encoder's shapes, hyperparameters and image settings."""
    try:
        skeleton = backbone.skeleton()
    except ConfigError:  # the model does not know an option, or reads it otherwise
        return False
    ours, theirs = (resolve_data_config(model=model) for model in (encoder, skeleton))
    return (
        backbone.shapes == shapes_of(encoder.state_dict())
        and backbone.hyperparameters == encoder_hyperparameters(encoder)
        and all(ours[key] == theirs[key] for key in OF_IMAGES)
    )

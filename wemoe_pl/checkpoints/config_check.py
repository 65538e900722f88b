"""Refuse weights whose config describes another computation than that of the model they are for."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from wemoe_pl.checkpoints.forms import Form
from wemoe_pl.checkpoints.hyperparameters import (
    ACTIVATION,
    ATTENTION_HEADS,
    EPSILON,
    IMAGE_SIZE,
    MASK,
    PATCH_SIZE,
    POOLING,
    PROJECTION_WIDTH,
    Hyperparameters,
)
from wemoe_pl.checkpoints.published_config import published_hyperparameters
from wemoe_pl.errors import CheckpointError

OF_BACKBONES = {
    ACTIVATION: "for quick_gelu choose the timm model with `quickgelu` in its name, for gelu the "
    "one without",
    ATTENTION_HEADS: "set `num_heads` among the options of the backbone",
    EPSILON: "choose the timm model that has it",
    IMAGE_SIZE: "set `img_size` among the options of the backbone",
    PATCH_SIZE: "set `patch_size` among the options of the backbone",
    PROJECTION_WIDTH: "set `num_classes` among the options of the backbone",
    POOLING: "set `global_pool` among the options of the backbone",
}
OF_TEXT_TOWERS = dict.fromkeys(
    (ACTIVATION, ATTENTION_HEADS, EPSILON, POOLING, MASK),
    "give the name under which open_clip knows it",
)


def check_config(
    configs: Iterable[Path], form: Form, own: Hyperparameters, owner: str, advice: Mapping[str, str]
) -> None:
    """Raise `CheckpointError` unless a model agrees with the configs that lie next to its weights.

    Args:
        configs: the config files.
        form: the form of the weights.
        own: the hyperparameters of the model; those that it lacks are not compared.
        owner: the name of the model in error messages.
        advice: the advice to the user, by the hyperparameter that differs.
    """
    for path in configs:
        for name, theirs in published_hyperparameters(path, form).items():
            if own.get(name, theirs) != theirs:
                raise CheckpointError(
                    f"{path} says that the {name} of the weights beside it is {theirs}, but that "
                    f"of {owner} is {own[name]}: {advice[name]}."
                )

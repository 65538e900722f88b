"""Define the backbone, which is the architecture of a pretrained encoder and its experts."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import nn

from wemoe_pl.checkpoints.hyperparameters import Hyperparameters, encoder_hyperparameters
from wemoe_pl.checkpoints.state import shapes_of
from wemoe_pl.errors import ConfigError, did_you_mean

MOST_BLOCKS = 1000  # sixteen times the depth of the deepest published vision transformers
READS_WEIGHTS = ("pretrained", "checkpoint_path", "pretrained_cfg_overlay")


@dataclass(frozen=True)
class Backbone:
    """A backbone is the architecture that a pretrained encoder and its experts share.

    Args:
        model: the name of a timm vision transformer. OpenAI's CLIP models need a name with
            `quickgelu`: models without it in their names have another activation.
        options: keyword arguments for `timm.create_model`. `num_classes` is 0 unless given: the
            encoder returns features, and classification heads are separate. For CLIP it is the
            width of the joint space (512 or 768): the projection is timm's `head`.
    """

    model: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a depth out of range and options that read weights, which a suite names itself."""
        depth = self.options.get("depth", 1)
        if not isinstance(depth, int) or isinstance(depth, bool) or not 1 <= depth <= MOST_BLOCKS:
            raise ConfigError(
                f"The backbone's option 'depth' is {depth}: give a number from 1 to {MOST_BLOCKS}."
            )
        for option in READS_WEIGHTS:
            if option in self.options:
                raise ConfigError(
                    f"The backbone's option '{option}' reads weights, but the backbone is only an "
                    "architecture: name the weights under `suite.pretrained`."
                )

    def build(self) -> nn.Module:
        """Return a new encoder with random weights, in evaluation mode.

        Raises:
            ConfigError: timm does not know the model, or the model does not know an option.
        """
        if not timm.is_model(self.model):
            nearest = get_close_matches(self.model, timm.list_models(), n=3)
            guess = f"Did you mean {' or '.join(nearest)}? " if nearest else ""
            raise ConfigError(
                f"timm has no model '{self.model}'. {guess}timm.list_models() gives all names."
            )
        check_tag(self.model)
        try:
            encoder = timm.create_model(self.model, **{"num_classes": 0, **self.options})
        except Exception as error:  # each layer raises its own kind of error
            raise ConfigError(
                f"The backbone '{self.model}' cannot be built with options {self.options}: "
                f"{str(error).rstrip('.')}."
            ) from error
        return encoder.eval()

    def skeleton(self) -> nn.Module:
        """Return the encoder without memory for its weights, to read its shapes and settings."""
        with torch.device("meta"):
            return self.build()

    @cached_property
    def shapes(self) -> dict[str, torch.Size]:
        """Return the shape of every weight of the encoder, by its key."""
        return shapes_of(self.skeleton().state_dict())

    @cached_property
    def hyperparameters(self) -> Hyperparameters:
        """Return the hyperparameters of the encoder that the shapes of its weights do not tell."""
        return encoder_hyperparameters(self.skeleton())

    @cached_property
    def feature_dim(self) -> int:
        """Return D, the width of the features that the encoder returns."""
        encoder = self.skeleton()
        size = encoder.num_classes or encoder.num_features
        assert isinstance(size, int)
        return size


def check_tag(name: str) -> None:
    """Raise `ConfigError` if the tag behind the name of a model is none that timm knows.

    >>> check_tag("vit_base_patch16_224.mae"), check_tag("vit_base_patch16_224")
    (None, None)
    """
    model, has_tag, tag = name.partition(".")
    try:
        if has_tag:  # what others register has neither tags nor such a config
            get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        known = [each.partition(".")[2] for each in names_with_tags(name)]
        raise ConfigError(
            f"timm has no weights '{tag}' of '{model}'. {did_you_mean(tag, known)}"
        ) from error


def names_with_tags(name: str) -> list[str]:
    """Return timm's names of all weights of a model's architecture, which end in their tags.

    >>> names_with_tags("vit_tiny_patch16_224.augreg_in21k")
    ['vit_tiny_patch16_224.augreg_in21k', 'vit_tiny_patch16_224.augreg_in21k_ft_in1k']
    """
    return timm.list_models(f"{name.partition('.')[0]}.*", pretrained=True)

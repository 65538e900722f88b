"""Refuse a checkpoint that was trained with other frozen files, or for another model."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from wemoe_pl.checkpoints import first_difference, shapes_of
from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.checkpoint import IDENTITY, check_sources, frozen_choices


def check_identity(
    checkpoint: Mapping[str, Any], own: Mapping[str, Any], trained: Mapping[str, Tensor]
) -> None:
    """Raise `CheckpointError` unless a checkpoint belongs to the model that is to load it.

    Args:
        checkpoint: the checkpoint as it was read.
        own: the identity of the model: its method, sources and recipe.
        trained: the model's trained parameters, by name.
    """
    identity = checkpoint.get(IDENTITY)
    if identity is None:
        raise CheckpointError("This checkpoint was not written by wemoe-pl.")
    check_sources(identity["sources"], own["sources"], "The checkpoint")
    if difference := first_difference(shapes_of(checkpoint["state_dict"]), shapes_of(trained)):
        raise CheckpointError(
            f"The checkpoint, of method {identity['method']}, does not fit {own['method']} as "
            f"configured: {difference}. Use the config that it was made with."
        )
    check_choices(identity["recipe"], own["recipe"])


def check_frozen(checkpoint: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` unless a checkpoint was trained with the frozen part of a model.

    This needs no built model, so it can be checked before any file of an earlier run is deleted.

    Args:
        checkpoint: the checkpoint as it was read.
        own: the same as for `check_identity`.
    """
    identity = checkpoint[IDENTITY]
    check_sources(identity["sources"], own["sources"], "The checkpoint")
    check_choices(identity["recipe"], own["recipe"])


def check_choices(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` unless two recipes make the same choices for the frozen part."""
    choices = frozen_choices(now)
    for part, chosen in frozen_choices(then).items():
        if choices[part] != chosen:
            raise CheckpointError(
                f"The checkpoint was trained with another {part}: it was {chosen} and is now "
                f"{choices[part]}. Use the config that it was made with."
            )

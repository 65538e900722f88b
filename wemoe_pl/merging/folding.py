"""Fold adapted weights into a plain encoder, which are the same for all images."""

from collections.abc import Sequence
from copy import deepcopy

from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.adamerging import AdaptiveEncoder
from wemoe_pl.moe.mixture import Mixture, mixtures_of


def folds(encoder: nn.Module) -> bool:
    """Return whether an encoder has learned weights that are the same for every input.

    This holds for AdaMerging, and for WEMoE with routers of depth 0. An encoder that learned
    nothing need not be folded.
    """
    mixtures = mixtures_of(encoder).values()
    alike = bool(mixtures) and all(m.router.depth == 0 for m in mixtures)
    return isinstance(encoder, AdaptiveEncoder) or alike


def fold(encoder: nn.Module, routing_weights: Tensor | None = None) -> nn.Module:
    """Return a plain encoder with fixed weights, which costs as much as the pretrained one.

    Args:
        encoder: an encoder of AdaMerging or of WEMoE; it is left as it is.
        routing_weights: the routing weights (M, T) by which the M mixtures of WEMoE are folded, in
            the order in which they run. None for those of routers of depth 0, with which the plain
            encoder has the same outputs.

    Raises:
        MergeError: the routers look at their input, and no routing weights are given; or these are
            of another shape.
    """
    if isinstance(encoder, AdaptiveEncoder):
        return encoder.fold()
    mixtures = mixtures_of(encoder)
    rows = (
        [None] * len(mixtures)
        if routing_weights is None
        else row_of_each(routing_weights, list(mixtures.values()))
    )
    plain = deepcopy(encoder, {id(mixture): nn.Identity() for mixture in mixtures.values()})
    for (name, mixture), row in zip(mixtures.items(), rows, strict=True):
        plain.set_submodule(name, mixture.fold(row))
    return plain


def row_of_each(routing_weights: Tensor, mixtures: Sequence[Mixture]) -> list[Tensor]:
    """Return the row of each mixture; raise `MergeError` for routing weights of another shape."""
    needed = len(mixtures), mixtures[0].num_experts if mixtures else 0
    if tuple(routing_weights.shape) != needed:
        raise MergeError(
            f"Routing weights of shape {tuple(routing_weights.shape)} were given for an encoder "
            f"with {needed[0]} mixtures of {needed[1]} experts: give one row for each mixture."
        )
    return list(routing_weights)

"""Fold adapted weights into a plain encoder, if they do not depend on the input."""

from copy import deepcopy

from torch import nn

from wemoe_pl.merging.adamerging import AdaptiveEncoder
from wemoe_pl.moe.mixture import mixtures_of


def folds(encoder: nn.Module) -> bool:
    """Return whether an encoder has learned weights that are the same for every input.

    This holds for AdaMerging, and for WEMoE with routers of depth 0. An encoder that learned
    nothing need not be folded.
    """
    mixtures = mixtures_of(encoder).values()
    alike = bool(mixtures) and all(m.router.depth == 0 for m in mixtures)
    return isinstance(encoder, AdaptiveEncoder) or alike


def fold(encoder: nn.Module) -> nn.Module:
    """Return a plain encoder of the same function, which costs as much as the pretrained one.

    Args:
        encoder: an encoder of AdaMerging, or of WEMoE with routers of depth 0; it is left as it is.

    Raises:
        MergeError: the routers look at their input.
    """
    if isinstance(encoder, AdaptiveEncoder):
        return encoder.fold()
    mixtures = mixtures_of(encoder)
    plain = deepcopy(encoder, {id(mixture): nn.Identity() for mixture in mixtures.values()})
    for name, mixture in mixtures.items():
        plain.set_submodule(name, mixture.fold())
    return plain

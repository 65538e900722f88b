"""Fold what was adapted into plain weights, where it does not depend on the input."""

from copy import deepcopy

from torch import nn

from wemoe_pl.merging.adamerging import AdaptiveEncoder
from wemoe_pl.moe.mixture import mixtures_of


def folds(encoder: nn.Module) -> bool:
    """Has an encoder learned weights that are the same for every input?

    So have AdaMerging's and WEMoE's of depth 0; an encoder that learned nothing need not be folded.
    """
    mixtures = mixtures_of(encoder).values()
    alike = bool(mixtures) and all(m.router.depth == 0 for m in mixtures)
    return isinstance(encoder, AdaptiveEncoder) or alike


def fold(encoder: nn.Module) -> nn.Module:
    """A plain encoder of the same function, which costs what the pretrained one does.

    Args:
        encoder: AdaMerging's, or WEMoE's with routers of depth 0; it is left as it is.

    Raises:
        MergeError: routers look at their input.
    """
    if isinstance(encoder, AdaptiveEncoder):
        return encoder.fold()
    mixtures = mixtures_of(encoder)
    plain = deepcopy(encoder, {id(mixture): nn.Identity() for mixture in mixtures.values()})
    for name, mixture in mixtures.items():
        plain.set_submodule(name, mixture.fold())
    return plain

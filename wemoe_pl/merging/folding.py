"""Fold what was adapted into plain weights, where it does not depend on the input."""

from torch import nn

from wemoe_pl.merging.adamerging import AdaptiveEncoder
from wemoe_pl.merging.base import blocks_of
from wemoe_pl.merging.wemoe import copy_without_mlps
from wemoe_pl.moe.layers import WeightEnsemblingMoE


def folds(encoder: nn.Module) -> bool:
    """Has an encoder learned weights that are the same for every input?

    So have AdaMerging's and WEMoE's of depth 0; an encoder that learned nothing need not be folded.
    """
    mixtures = [m for m in encoder.modules() if isinstance(m, WeightEnsemblingMoE)]
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
    plain = copy_without_mlps(encoder)
    for block, upscaled in zip(blocks_of(plain), blocks_of(encoder), strict=True):
        mixture = upscaled.get_submodule("mlp")
        assert isinstance(mixture, WeightEnsemblingMoE)
        block.mlp = mixture.fold()
    return plain

"""Merge methods: small objects that turn (pretrained, experts) into one encoder.

A static method returns a plain encoder; WEMoE returns one whose routers require gradients.
Everything downstream (adapting, scoring, logging) knows only that.
"""

from wemoe_pl.merging.adamerging import AdaMerging, AdaptiveEncoder
from wemoe_pl.merging.base import MergeMethod, blocks_of
from wemoe_pl.merging.baselines import Individual, PerTaskEncoder, Pretrained
from wemoe_pl.merging.folding import fold, folds
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE, upscale

__all__ = [
    "AdaMerging",
    "AdaptiveEncoder",
    "EWEMoE",
    "Individual",
    "MergeMethod",
    "PerTaskEncoder",
    "Pretrained",
    "TaskArithmetic",
    "WEMoE",
    "blocks_of",
    "fold",
    "folds",
    "upscale",
]

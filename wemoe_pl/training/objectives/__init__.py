"""Define objectives: small objects that say what adaptation minimises, without any label."""

from wemoe_pl.training.objectives.base import (
    Objective,
    check_batch_size,
    check_finite_losses,
    check_objective,
    loss_of,
    needs_of,
)
from wemoe_pl.training.objectives.distillation import Distillation, FeatureMatching
from wemoe_pl.training.objectives.entropy import Entropy, InformationMaximisation, with_old_options
from wemoe_pl.training.objectives.expert_labels import ExpertLabels
from wemoe_pl.training.objectives.outputs import AdaptationOutputs, Need, compute_needs
from wemoe_pl.training.objectives.weighted_sum import WeightedSum

__all__ = [
    "AdaptationOutputs", "Distillation", "Entropy", "ExpertLabels", "FeatureMatching",
    "InformationMaximisation", "Need", "Objective", "WeightedSum", "check_batch_size",
    "check_finite_losses", "check_objective", "compute_needs", "loss_of", "needs_of",
    "with_old_options",
]  # fmt: skip

"""Objectives: small objects that say what adaptation minimises, and never see a label."""

from wemoe_pl.training.objectives.base import (
    Objective,
    check_batch_size,
    check_finite_losses,
    check_objective,
    loss_of,
    needs_of,
)
from wemoe_pl.training.objectives.entropy import Entropy, InformationMaximisation, with_old_options
from wemoe_pl.training.objectives.expert_labels import ExpertLabels
from wemoe_pl.training.objectives.experts import ExpertLogits
from wemoe_pl.training.objectives.outputs import AdaptationOutputs, Need, compute_needs

__all__ = [
    "AdaptationOutputs", "Entropy", "ExpertLabels", "ExpertLogits", "InformationMaximisation",
    "Need", "Objective", "check_batch_size", "check_finite_losses", "check_objective",
    "compute_needs", "loss_of", "needs_of", "with_old_options",
]  # fmt: skip

"""The optimisers of all modules have a learning rate above 0 that changes with every step."""

from typing import Literal

from lightning import Trainer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler

from wemoe_pl.errors import ConfigError

Schedule = Literal["cosine", "constant"]


def checked_learning_rate(learning_rate: float) -> float:
    """`learning_rate`, or a `ConfigError` unless it is above 0."""
    if not learning_rate > 0:
        raise ConfigError(f"learning_rate is {learning_rate}: give a number above 0.")
    return learning_rate


def count_steps(trainer: Trainer) -> int:
    """Return the number of optimiser steps of a run; learning rates are annealed over them."""
    if trainer.max_steps < 1:
        raise ConfigError("Give the number of steps: trainer.max_steps, from 1.")
    return trainer.max_steps


def scheduled(
    optimizer: Optimizer, schedule: Schedule, trainer: Trainer
) -> OptimizerLRSchedulerConfig:
    """Anneal the learning rate to zero over the run by a cosine, or leave it as it is."""
    steps = count_steps(trainer)
    if schedule == "cosine":
        return stepwise(optimizer, CosineAnnealingLR(optimizer, steps))
    return stepwise(optimizer, ConstantLR(optimizer, factor=1.0, total_iters=steps))


def stepwise(optimizer: Optimizer, scheduler: LRScheduler) -> OptimizerLRSchedulerConfig:
    """Return Lightning's description of a learning rate that changes with every step."""
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

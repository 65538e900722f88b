"""Check and schedule the learning rates of optimisers, which change with every step."""

from typing import Literal

from lightning import Trainer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler

from wemoe_pl.errors import ConfigError

Schedule = Literal["cosine", "constant"]


def checked_learning_rate(learning_rate: float) -> float:
    """Return `learning_rate`; raise `ConfigError` unless it is above 0."""
    if not learning_rate > 0:
        raise ConfigError(f"learning_rate is {learning_rate}: give a number above 0.")
    return learning_rate


def count_steps(trainer: Trainer) -> int:
    """Return the number of optimiser steps of a run; learning rates are annealed over them."""
    if trainer.max_steps < 1:
        raise ConfigError("Give the number of steps: trainer.max_steps, from 1.")
    return trainer.max_steps


def check_heads_are_averaged(trainer: Trainer) -> None:
    """Raise `ConfigError` if trained heads may have no part in the last batch of a step.

    Several processes average gradients after that batch, and only those of the parameters that it
    has used.
    """
    if trainer.world_size > 1 and trainer.accumulate_grad_batches > 1:
        raise ConfigError(
            "Heads cannot be trained on several devices in steps of several batches: leave out "
            "data.tasks_per_batch and trainer.accumulate_grad_batches, or set trainer.devices to 1."
        )


def scheduled(
    optimizer: Optimizer, schedule: Schedule, trainer: Trainer
) -> OptimizerLRSchedulerConfig:
    """Return the optimiser with its schedule: a cosine to zero over the run, or a constant rate."""
    steps = count_steps(trainer)
    if schedule == "cosine":
        return stepwise(optimizer, CosineAnnealingLR(optimizer, steps))
    return stepwise(optimizer, ConstantLR(optimizer, factor=1.0, total_iters=steps))


def stepwise(optimizer: Optimizer, scheduler: LRScheduler) -> OptimizerLRSchedulerConfig:
    """Return Lightning's description of a learning rate that changes with every step."""
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

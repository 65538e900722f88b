"""Find the next batch of a trainer, and check that its batches make whole steps."""

import lightning as L

from wemoe_pl.data.streams import StepBatches
from wemoe_pl.errors import ConfigError


def next_batch(trainer: L.Trainer) -> int:
    """Return the index of the batch with which an epoch of a fit begins.

    No batch is repeated, except if the trainer overfits a few batches.
    """
    done = trainer.global_step * trainer.accumulate_grad_batches
    repeated = int(getattr(trainer, "overfit_batches", 0))
    return done % repeated if repeated else done


def check_steps(trainer: L.Trainer, batches: StepBatches, tasks_per_batch: int) -> None:
    """Raise `ConfigError` unless the trainer accumulates and validates in whole steps."""
    groups, accumulated = len(batches.groups), trainer.accumulate_grad_batches
    if len(batches.tasks) > 1 and groups != accumulated:
        raise ConfigError(
            f"tasks_per_batch {tasks_per_batch} splits a step into {groups} batches: "
            f"set trainer.accumulate_grad_batches to {groups} (it is {accumulated})."
        )
    interval = trainer.val_check_interval
    if isinstance(interval, int) and interval % accumulated:
        raise ConfigError(
            f"trainer.val_check_interval {interval} counts batches, {accumulated} of which "
            f"make a step (trainer.accumulate_grad_batches): give a multiple of {accumulated}."
        )


def check_split(batch_size: int, processes: int) -> None:
    """Raise `ConfigError` unless a step's images of a task split evenly over the processes."""
    if batch_size % processes:
        nearest = processes * max(1, round(batch_size / processes))
        raise ConfigError(
            f"data.batch_size {batch_size} does not split evenly over {processes} devices, which "
            f"share the images of a step: set it to {nearest}, or take another number of devices."
        )

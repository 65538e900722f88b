"""Check settings that a fit refuses, whatever its models and images are."""

from typing import Any

import torch

from wemoe_pl.errors import ConfigError
from wemoe_pl.training.adapt import TestTimeAdaptation, check_stream_of
from wemoe_pl.training.finetune import ExpertFineTuning
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.objectives.base import check_batch_size


def check_fit(
    module: MultiTaskModule,
    task: str | None,
    val_check_interval: Any,
    batch_size: int,
    processes: int = 1,
    batches: int = 1,
) -> None:
    """Raise `ConfigError` for settings that a fit of this module cannot have.

    Args:
        module: the module that is fitted.
        task: the value of --task, if it was given; only fine-tuning takes it.
        val_check_interval: the trainer's interval between validations, above 0.
        batch_size: images per task and step; several if the objective compares them.
        processes: the number of processes that share a step.
        batches: the number of batches that a step is split into.
    """
    if task and not isinstance(module, ExpertFineTuning):
        raise ConfigError(
            "--task has no effect on this job, which is for all tasks of the suite: leave out "
            f"'{task}'. Only fine-tuning and predict take one task."
        )
    if isinstance(module, TestTimeAdaptation):
        check_batch_size(module.objective, batch_size)
        check_stream_of(module, processes, batches)
    if isinstance(val_check_interval, int | float) and val_check_interval <= 0:
        raise ConfigError(
            f"trainer.val_check_interval is {val_check_interval}: give a number from 1."
        )


def check_devices(accelerator: str, devices: Any) -> None:
    """Raise `ConfigError` if this machine lacks the GPUs that a job asks for."""
    there = torch.cuda.device_count()
    if accelerator not in ("gpu", "cuda"):
        return
    if not there:
        raise ConfigError(
            f"trainer.accelerator is {accelerator}, but this machine has no GPU: check the job "
            "where it is to run, or with --trainer.accelerator cpu."
        )
    if (number_of(devices) or 0) > there:
        raise ConfigError(f"trainer.devices is {devices}, but this machine has {there} GPUs.")


def number_of(devices: Any) -> int | None:
    """Return the number of devices that a setting of the trainer means; None if it means all.

    >>> number_of("3"), number_of([0, 2]), number_of("auto"), number_of(-1)
    (3, 2, None, None)
    """
    if isinstance(devices, list):
        return len(devices)
    return int(devices) if str(devices).isdecimal() else None

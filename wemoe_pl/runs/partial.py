"""Describe runs of which only a part was made or scored, and refuse limits that leave nothing."""

from collections.abc import Mapping
from typing import Any

from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn

from wemoe_pl.errors import ConfigError

PARTIAL = ", partial"  # follows the name of a method if not all test images were scored
# The consequence of each limit of the trainer that is 0.
NOTHING_LEFT = {
    "limit_train_batches": "nothing would be learned",
    "limit_test_batches": "nothing would be scored",
    "limit_predict_batches": "nothing would be predicted",
}
# This limit matters to `validate` alone, as a fit may leave its validations out.
OF_VALIDATION = {"limit_val_batches": "nothing would be scored"}


def check_limits(settings: Mapping[str, Any], command: str = "fit") -> None:
    """Raise `ConfigError` for a limit of a trainer that no run can be made with.

    Args:
        settings: the settings of the trainer.
        command: fit, validate, test or predict.
    """
    needed = NOTHING_LEFT | (OF_VALIDATION if command == "validate" else {})
    for name, consequence in needed.items():
        limit = settings.get(name)
        if limit == 0 and limit is not False:
            raise ConfigError(f"trainer.{name} is {limit}, and so {consequence}: leave it out.")
    for name in ("limit_train_batches", "overfit_batches"):
        limit, accumulated = settings.get(name), settings.get("accumulate_grad_batches") or 1
        if isinstance(limit, float) and 0 < limit < 1:
            raise ConfigError(
                f"trainer.{name} is {limit}, but the images of a fit are repeated endlessly and "
                "have no share: give a number of batches."
            )
        if isinstance(limit, int) and limit % accumulated:
            raise ConfigError(
                f"trainer.{name} counts batches, and {accumulated} batches make a step "
                f"(trainer.accumulate_grad_batches): give a multiple of {accumulated}, not {limit}."
            )


def what_was_scored(trainer: Trainer) -> str | None:
    """Say which part of the test images was scored; return None if all were.

    Args:
        trainer: the trainer, which has just tested or validated.
    """
    if trial := int(getattr(trainer, "fast_dev_run", 0)):
        return f"Only a trial: {share(trial)} of every task was read."
    if trainer.state.fn == TrainerFn.VALIDATING:
        limit, numbers = trainer.limit_val_batches, trainer.num_val_batches
        loaders = trainer.val_dataloaders
    else:
        limit, numbers = trainer.limit_test_batches, trainer.num_test_batches
        loaders = trainer.test_dataloaders
    pairs = zip(numbers, loaders or (), strict=True)
    if is_all(limit) or all(number >= len(loader) for number, loader in pairs):
        return None
    return f"Only {share(limit)} of every task was scored."


def what_was_validated(trainer: Trainer) -> str | None:
    """Say which part of the test images was validated; return None if all were, or none."""
    limit = trainer.limit_val_batches
    if limit == 0 or is_all(limit):
        return None
    return f"The validation curves cover only {share(limit)} of every task."


def is_all(limit: float) -> bool:
    """Return whether a limit lets all through; the number 1 is one batch, but 1.0 is a share."""
    return isinstance(limit, float) and limit == 1


def share(limit: float) -> str:
    """Say in words how much of the test images a limit lets through.

    >>> share(1), share(0.25)
    ('the first batch of test images', 'the first 25 % of the test images')
    """
    if isinstance(limit, float):
        return f"the first {100 * limit:.3g} % of the test images"
    return f"the first {'batch' if limit == 1 else f'{limit} batches'} of test images"

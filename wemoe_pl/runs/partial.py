"""Runs of which only a part was made or scored, which they say wherever they are shown."""

from collections.abc import Mapping
from typing import Any

from lightning import Trainer

from wemoe_pl.errors import ConfigError

# What each limit of the trainer leaves nothing of when it is 0.
NOTHING_LEFT = {
    "limit_train_batches": "nothing would be learned",
    "limit_test_batches": "nothing would be scored",
}


def check_limits(settings: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a limit of a trainer that no run can be made with.

    Args:
        settings: of the trainer.
    """
    for name, consequence in NOTHING_LEFT.items():
        limit = settings.get(name)
        if limit == 0 and limit is not False:
            raise ConfigError(f"trainer.{name} is {limit}, and so {consequence}: leave it out.")
    for name in ("limit_train_batches", "overfit_batches"):
        limit, accumulated = settings.get(name), settings.get("accumulate_grad_batches") or 1
        if isinstance(limit, float) and 0 < limit < 1:
            raise ConfigError(
                f"trainer.{name} is {limit}, but the images of a fit come again without end: give "
                "a number of batches."
            )
        if isinstance(limit, int) and limit % accumulated:
            raise ConfigError(
                f"trainer.{name} counts batches, {accumulated} of which make a step "
                f"(trainer.accumulate_grad_batches): give a multiple of {accumulated}, not {limit}."
            )


def what_was_scored(trainer: Trainer) -> str | None:
    """Which part of the test images was scored, in words; None if all were."""
    if trainer.fast_dev_run:
        return (
            f"Only a trial (trainer.fast_dev_run): {share(int(trainer.fast_dev_run))} of every "
            "task was learned from and scored."
        )
    if trainer.limit_test_batches == 1.0 and isinstance(trainer.limit_test_batches, float):
        return None
    return (
        f"Only {share(trainer.limit_test_batches)} of the test images of every task was scored "
        "(trainer.limit_test_batches)."
    )


def what_was_validated(trainer: Trainer) -> str | None:
    """Which part of the test images the curves are of, in words; None if of all."""
    limit = trainer.limit_val_batches
    if limit == 0 or (limit == 1.0 and isinstance(limit, float)):
        return None
    return f"Curves are of {share(limit)} of every task only (trainer.limit_val_batches)."


def share(limit: float) -> str:
    """How much a limit lets through, in words.

    >>> share(1), share(20), share(0.25)
    ('the first batch', 'the first 20 batches', 'the first 25 %')
    """
    if isinstance(limit, float):
        return f"the first {100 * limit:.3g} %"
    return "the first batch" if limit == 1 else f"the first {limit} batches"

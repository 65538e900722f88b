"""Find the callbacks of a trainer by their class."""

from typing import TypeVar

import lightning as L

Sibling = TypeVar("Sibling", bound=L.Callback)


def callbacks_of(trainer: L.Trainer, kind: type[Sibling]) -> list[Sibling]:
    """Return the callbacks of one class among those of a trainer, in their order."""
    return [callback for callback in all_callbacks(trainer) if isinstance(callback, kind)]


def all_callbacks(trainer: L.Trainer) -> list[L.Callback]:
    """Return the trainer's own list of callbacks; callbacks that are added to it are called too."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks

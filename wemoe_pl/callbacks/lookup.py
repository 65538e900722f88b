"""Callbacks, and the command line, find here the other callbacks of a trainer."""

from typing import TypeVar

import lightning as L

Sibling = TypeVar("Sibling", bound=L.Callback)


def callbacks_of(trainer: L.Trainer, kind: type[Sibling]) -> list[Sibling]:
    """Find the callbacks of one class among those of a trainer, in their order."""
    return [callback for callback in all_callbacks(trainer) if isinstance(callback, kind)]


def all_callbacks(trainer: L.Trainer) -> list[L.Callback]:
    """The trainer's own list, which it does not declare; what is added to it is called too."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks

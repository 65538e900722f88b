"""Print lines of progress where no bar can be drawn, as in a log file."""

from collections.abc import Sequence
from time import monotonic
from typing import Any

import lightning as L

from wemoe_pl.callbacks.progress import StepProgressBar
from wemoe_pl.system.terminal import say
from wemoe_pl.training.clock import duration_in_words

SECONDS = 8.0  # a line also waits for a batch to end, and still comes at least every ten seconds


class ProgressLines(L.Callback):
    """The callback says every few seconds how far a run is, if its progress bar has no terminal.

    A run without a progress bar, such as a quiet one, has no such lines either.

    Args:
        seconds: the least time between two lines, and before the first.
    """

    def __init__(self, seconds: float = SECONDS):
        self.seconds = seconds
        self._said = monotonic()
        self._began: tuple[int, float] | None = None  # the step and the time at which a fit began

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Note when the fit began, to estimate how long it still takes."""
        if self._began is None:
            self._began = trainer.global_step, monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Print the step of the fit, its metrics and the time that is left."""
        bar, last = trainer.progress_bar_callback, trainer.max_steps
        if bar is not None and self.is_due(trainer):
            metrics = [f"{title} {v}" for title, v in bar.get_metrics(trainer, pl_module).items()]
            step = f"step {trainer.global_step}" + (f" of {last}" if last > 0 else "")
            self.tell("Training", step, *metrics, *self.time_left(trainer))

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Print how many batches were validated."""
        if self.is_due(trainer):
            self.tell("Validating", counted(trainer.num_val_batches, dataloader_idx, batch_idx))

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Print how many batches were scored."""
        if self.is_due(trainer):
            self.tell("Scoring", counted(trainer.num_test_batches, dataloader_idx, batch_idx))

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Print how many batches were classified."""
        if self.is_due(trainer):
            batches = trainer.num_predict_batches
            self.tell("Predicting", counted(batches, dataloader_idx, batch_idx))

    def is_due(self, trainer: L.Trainer) -> bool:
        """Return whether this process should print a line now."""
        bar = trainer.progress_bar_callback
        has_no_terminal = isinstance(bar, StepProgressBar) and bar.is_disabled
        is_late = monotonic() - self._said >= self.seconds
        return has_no_terminal and is_late and trainer.is_global_zero

    def tell(self, stage: str, *facts: str) -> None:
        """Print a line, and note the time."""
        say(f"{stage}: {', '.join(facts)}")
        self._said = monotonic()

    def time_left(self, trainer: L.Trainer) -> list[str]:
        """Return how long the fit may still take, with validations; [] before the first step."""
        assert self._began is not None
        step, began = self._began
        done, left = trainer.global_step - step, trainer.max_steps - trainer.global_step
        if not done or left <= 0:
            return []
        return [f"{duration_in_words((monotonic() - began) / done * left)} left"]


def counted(batches: Sequence[int | float], loader: int, batch: int) -> str:
    """Say how many batches are done, counting those of several loaders together.

    >>> counted([4, 4], 1, 0)
    '5 of 8 batches'
    """
    return f"{sum(batches[:loader]) + batch + 1} of {sum(batches)} batches"

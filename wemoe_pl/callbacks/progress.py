"""Draw the progress of a fit in optimiser steps."""

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import ProgressColumn, TextColumn, TimeRemainingColumn

from wemoe_pl.system.console import has_terminal
from wemoe_pl.training.shown_metrics import SHOWN_METRICS, ShownMetric


class StepProgressBar(RichProgressBar):
    """The bar shows progress in optimiser steps, for data without end, with entropy and accuracy.

    The accuracy is that of the last validation, whose step is named next to it. Nothing is printed
    if there is no terminal to draw on, as in a log file.
    """

    _validated_step = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Disable the bar if there is no terminal to draw on."""
        super().setup(trainer, pl_module, stage)
        if not has_terminal(**self._console_kwargs):
            self.disable()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the step of the validation, whose figures the bar shows from now on."""
        self._validated_step = trainer.global_step
        super().on_validation_end(trainer, pl_module)

    @property
    def total_train_batches(self) -> int | float:
        """Return the number of batches of the run, instead of Lightning's infinity."""
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"

    def configure_columns(self, trainer: L.Trainer) -> list[ProgressColumn]:
        """Return the columns of the bar: the stage, its progress, the time that is left."""
        description, bar, batches, *_ = super().configure_columns(trainer)
        bar.bar_width = 6  # so that all fits into a line of 80 characters
        return [description, bar, batches, TextColumn("ETA"), TimeRemainingColumn(compact=True)]

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the metrics of the bar, under names and in units for people."""
        metrics = super().get_metrics(trainer, pl_module)
        return {
            self._dated(metric): metric.progress.format(metrics[metric.key])
            for metric in SHOWN_METRICS
            if metric.progress and metric.key in metrics
        }

    def _dated(self, metric: ShownMetric) -> str:
        """Return the title of a metric, with its step unless that is the step just made."""
        is_of_step = metric.stages[0] == "train"
        return metric.title if is_of_step else f"{metric.title} at step {self._validated_step}"

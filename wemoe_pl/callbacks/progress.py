"""The progress of a fit, drawn in optimiser steps."""

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import ProgressColumn, TextColumn, TimeRemainingColumn

from wemoe_pl.system.console import has_terminal
from wemoe_pl.training.shown_metrics import SHOWN_METRICS, ShownMetric


class StepProgressBar(RichProgressBar):
    """Progress in optimiser steps, of runs whose data has no end, with entropy and accuracy.

    The accuracy is that of the last validation, and has its step beside it. Nothing is printed
    where there is no terminal to draw on, as in a log file.
    """

    _validated_step = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Look at where the bar would go."""
        super().setup(trainer, pl_module, stage)
        if not has_terminal(**self._console_kwargs):
            self.disable()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note which step the figures of the validation are of."""
        self._validated_step = trainer.global_step
        super().on_validation_end(trainer, pl_module)

    @property
    def total_train_batches(self) -> int | float:
        """All batches of the run, instead of Lightning's infinity."""
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
        """The metrics of the line, under names and in units for people."""
        metrics = super().get_metrics(trainer, pl_module)
        return {
            self._dated(metric): metric.progress.format(metrics[metric.key])
            for metric in SHOWN_METRICS
            if metric.progress and metric.key in metrics
        }

    def _dated(self, metric: ShownMetric) -> str:
        """Name a metric, and the step that it is of if that is not the one just made."""
        is_of_step = metric.stages[0] == "train"
        return metric.title if is_of_step else f"{metric.title} at step {self._validated_step}"

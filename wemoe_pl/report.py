"""What a run shows and leaves: progress, the table, predictions."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import RichProgressBar
from rich.table import Table

from wemoe_pl.evaluate import Prediction
from wemoe_pl.files import atomic_write
from wemoe_pl.scores import mean, normalized_mean

COLUMN_TITLES = {
    "pretrained": "pretrained",
    "task_arithmetic": "task arithmetic",
    "individual": "individual",
}


class StepProgressBar(RichProgressBar):
    """Progress in optimiser steps, of runs whose data has no end, with entropy and accuracy."""

    @property
    def total_train_batches(self) -> int | float:
        """All batches of the run, instead of Lightning's infinity."""
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"


def accuracy_table(results: Mapping[str, Any]) -> Table:
    """One row per task, one column per method, and the means below; in percent.

    Args:
        results: the contents of a `results.json`.
    """
    reference = results["reference"]
    columns = {
        "pretrained": reference.get("pretrained"),
        "task_arithmetic": reference.get("task_arithmetic"),
        results["method"]: results["accuracy"],
        "individual": reference.get("individual"),
    }
    own = next((n for n in reference if n.replace("_", "") == results["method"].lower()), None)
    columns = {name: values for name, values in columns.items() if values and name != own}
    individual = reference.get("individual", {})
    title = f"Accuracy on {results['suite']}, %"
    table = Table(title=title, caption=results.get("note"), min_width=len(title))
    table.add_column("task")
    for name in columns:
        style = "bold" if name == results["method"] else ""
        table.add_column(COLUMN_TITLES.get(name, name), justify="right", style=style)
    for task in results["tasks"]:
        table.add_row(task, *(percent(values.get(task)) for values in columns.values()))
    table.add_section()
    table.add_row("mean", *(percent(mean(values)) for values in columns.values()))
    if individual:
        normalized = (normalized_mean(values, individual) for values in columns.values())
        table.add_row("normalized mean", *(percent(value) for value in normalized))
    return table


def percent(share: float | None) -> str:
    """A share as percent with one decimal; a dash for what was not measured.

    >>> percent(0.8943), percent(None)
    ('89.4', '–')
    """
    return "–" if share is None else f"{100 * share:.1f}"


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write predictions as CSV with the columns image, task, class and probability."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "task", "class", "probability"])
        for image, task, predicted_class, probability in predictions:
            writer.writerow([image, task, predicted_class, f"{probability:.6f}"])

"""What was validated is shown like what was tested, and says if it is a part."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from wemoe_pl.data.miniature import FreshRender
from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.reporting.finishing import validation_tables
from wemoe_pl.system.console import Console
from wemoe_pl.training.metrics import TaskScores


@pytest.mark.parametrize(("trial", "method"), [(1, "wemoe, partial"), (0, "wemoe")])
def test_a_table_of_a_validation_names_the_method(trial: int, method: str) -> None:
    trainer: Any = SimpleNamespace(
        fast_dev_run=trial, state=SimpleNamespace(fn="validate"), limit_val_batches=1.0,
        num_val_batches=[], val_dataloaders=[],
    )  # fmt: skip
    scores = TaskScores({"mnist": 2})
    scores.update("mnist", torch.eye(2), torch.tensor([0, 0]))
    model: Any = SimpleNamespace(
        scores=scores,
        suite=SimpleNamespace(name="tiny", note=None),
        method="wemoe",
    )
    data: Any = SimpleNamespace(test_render=FreshRender(7, 2))
    console = Console(record=True, width=100)
    console.print(*validation_tables(trainer, model, data))
    text = console.export_text()
    assert "Accuracy on tiny, %" in text
    assert "50.0" in text
    assert ("partial" in text) == bool(trial)
    assert method in text
    assert "rendered from seed 7" in " ".join(text.split())


def test_a_validation_without_labels_shows_what_needs_none() -> None:
    trainer: Any = SimpleNamespace(
        fast_dev_run=0, state=SimpleNamespace(fn="validate"), limit_val_batches=1.0,
        num_val_batches=[], val_dataloaders=[],
    )  # fmt: skip
    scores = TaskScores({"mnist": 2})
    scores.update("mnist", torch.zeros(3, 2), torch.full((3,), UNLABELLED))
    suite = SimpleNamespace(name="tiny", note=None)
    model: Any = SimpleNamespace(scores=scores, suite=suite, method="wemoe")
    data: Any = SimpleNamespace(test_render=None)
    [table] = validation_tables(trainer, model, data)
    console = Console(record=True, width=100)
    console.print(table)
    text = console.export_text()
    assert "Without labels, on tiny" in text
    assert "0.69" in text  # log 2, of answers that are quite uncertain

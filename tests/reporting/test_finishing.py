"""What was validated is shown like what was tested, and says if it is a part."""

from types import SimpleNamespace
from typing import Any

import pytest

from wemoe_pl.reporting.finishing import validation_table
from wemoe_pl.system.console import Console


@pytest.mark.parametrize(("trial", "method"), [(1, "wemoe, partial"), (0, "wemoe")])
def test_a_table_of_a_validation_names_the_method(trial: int, method: str) -> None:
    trainer: Any = SimpleNamespace(
        fast_dev_run=trial, state=SimpleNamespace(fn="validate"), limit_val_batches=1.0,
        num_val_batches=[], val_dataloaders=[],
    )  # fmt: skip
    model: Any = SimpleNamespace(
        scores=SimpleNamespace(accuracy=lambda: {"mnist": 0.5}),
        suite=SimpleNamespace(name="tiny", note=None),
        method="wemoe",
    )
    console = Console(record=True, width=100)
    console.print(validation_table(trainer, model))
    text = console.export_text()
    assert "Accuracy on tiny, %" in text
    assert "50.0" in text
    assert ("partial" in text) == bool(trial)
    assert method in text

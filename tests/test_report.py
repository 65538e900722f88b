"""The table to the cell, a picture that shows something, and predictions as CSV."""

import csv
from io import StringIO
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from rich.console import Console

from wemoe_pl.evaluate import Prediction
from wemoe_pl.report import StepProgressBar, accuracy_table, write_predictions

RESULTS = {
    "suite": "tiny",
    "method": "WEMoE",
    "tasks": ["cars", "mnist"],
    "accuracy": {"cars": 0.6, "mnist": 0.95},
    "reference": {
        "pretrained": {"cars": 0.5, "mnist": 0.25},
        "task_arithmetic": {"cars": 0.55, "mnist": 0.5},
        "individual": {"cars": 0.8, "mnist": 1.0},
    },
}


def rows(results: dict[str, Any]) -> list[list[str]]:
    """The cells of the table as it is printed, without its frame."""
    page = StringIO()
    Console(file=page, width=200).print(accuracy_table(results))
    lines = [line.replace("┃", "│").strip("│ \n") for line in page.getvalue().splitlines()]
    return [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]


def test_the_table_has_a_row_per_task_a_column_per_method_and_means() -> None:
    assert rows(RESULTS) == [
        ["task", "pretrained", "task arithmetic", "WEMoE", "individual"],
        ["cars", "50.0", "55.0", "60.0", "80.0"],
        ["mnist", "25.0", "50.0", "95.0", "100.0"],
        ["mean", "37.5", "52.5", "77.5", "90.0"],
        ["normalized mean", "43.8", "59.4", "85.0", "100.0"],
    ]


def test_a_task_without_expert_has_a_dash() -> None:
    reference = {**RESULTS["reference"], "individual": {"mnist": 1.0}}  # type: ignore[dict-item]
    table = rows({**RESULTS, "reference": reference})
    assert table[1] == ["cars", "50.0", "55.0", "60.0", "–"]
    assert table[-1] == ["normalized mean", "25.0", "50.0", "95.0", "100.0"]


@pytest.mark.parametrize(
    ("method", "own", "titles"),
    [
        ("Pretrained", "pretrained", ["task arithmetic", "Pretrained", "individual"]),
        ("TaskArithmetic", "task_arithmetic", ["pretrained", "TaskArithmetic", "individual"]),
        ("Individual", "individual", ["pretrained", "task arithmetic", "Individual"]),
    ],
)
def test_a_method_that_is_a_reference_itself_has_one_column(
    method: str, own: str, titles: list[str]
) -> None:
    accuracy = RESULTS["reference"][own]  # type: ignore[index]
    table = rows({**RESULTS, "method": method, "accuracy": accuracy})
    assert table[0] == ["task", *titles]
    column = table[0].index(method)
    assert [row[column] for row in table[1:3]] == [
        f"{100 * value:.1f}" for value in accuracy.values()
    ]
    assert table[-1][0] == "normalized mean"


@pytest.mark.parametrize("compared", [False, True])
def test_a_run_without_labels_has_a_table_all_the_same(compared: bool) -> None:
    reference: dict[str, Any] = {name: {} for name in RESULTS["reference"]} if compared else {}
    page = StringIO()
    nothing = {**RESULTS, "tasks": [], "accuracy": {}, "reference": reference}
    Console(file=page, width=80).print(accuracy_table(nothing))
    assert "Accuracy on tiny, %" in page.getvalue()
    assert "cars" not in page.getvalue()


def test_without_references_only_the_method_is_shown() -> None:
    assert rows({**RESULTS, "reference": {}}) == [
        ["task", "WEMoE"],
        ["cars", "60.0"],
        ["mnist", "95.0"],
        ["mean", "77.5"],
    ]


def test_the_note_of_a_suite_stands_below_its_table() -> None:
    page = StringIO()
    Console(file=page, width=80).print(accuracy_table({**RESULTS, "note": "Rendered images."}))
    assert page.getvalue().splitlines()[-1].strip() == "Rendered images."


def test_the_title_is_on_one_line() -> None:
    page = StringIO()
    Console(file=page, width=80).print(accuracy_table({**RESULTS, "reference": {}}))
    assert "Accuracy on tiny, %" in page.getvalue()


def test_predictions_are_written_as_csv(tmp_path: Path) -> None:
    predictions = [
        Prediction("a, b.png", "cars", "coupe", 0.5),
        Prediction("c.png", "mnist", "7", 1 / 3),
    ]
    write_predictions(tmp_path / "predictions.csv", predictions)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["image", "task", "class", "probability"],
            ["a, b.png", "cars", "coupe", "0.500000"],
            ["c.png", "mnist", "7", "0.333333"],
        ]


def test_progress_counts_the_batches_of_all_steps() -> None:
    progress = StepProgressBar()
    trainer = L.Trainer(accelerator="cpu", logger=False, max_steps=7, accumulate_grad_batches=3)
    progress.setup(trainer, L.LightningModule(), "fit")
    assert progress.total_train_batches == 21

"""What is answered is kept batch by batch, and comes out in one table, whole or not at all."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from wemoe_pl.callbacks.predictions import Predictions
from wemoe_pl.data.tasks import path_of, printable
from wemoe_pl.data.to_classify import NamedBatch
from wemoe_pl.errors import ConfigError, DataError, WeMoEError
from wemoe_pl.model import prediction_table
from wemoe_pl.model.answering import Prediction
from wemoe_pl.system.spreadsheets import csv_text

HEADER = ["image", "task", "class", "probability", "task_confidence", "error"]


def predicted(
    image: str, task: str, class_name: str, probability: float, confidence: float | None = None
) -> Prediction:
    top = [(class_name, probability)]
    return Prediction(task, confidence, class_name, probability, top, image)


def cells(prediction: Prediction) -> list[Any]:
    return [getattr(prediction, name) for name in prediction_table.COLUMNS]


BATCHES = {
    0: [
        predicted("a, b.png", "cars", "coupe", 0.5),
        Prediction.unreadable("c.png", "c.png is torn"),
    ],
    2: [predicted("d.png", "mnist", "7", 1 / 3, 0.25)],
}
LINES = [
    HEADER,
    ["a, b.png", "cars", "coupe", "0.500000", "", ""],
    ["c.png", "", "", "", "", "c.png is torn"],
    ["d.png", "mnist", "7", "0.333333", "0.250000", ""],
]


def keep(writer: Predictions, first: int, answers: list[Prediction]) -> None:
    names = [str(answer.image) for answer in answers]
    batch = NamedBatch(first, names, [answer.error for answer in answers], torch.empty(0))
    nobody: Any = None
    writer.on_predict_batch_end(nobody, nobody, answers, batch, batch_idx=0)


def begun(folder: Path, file: str = "predictions.csv", asked: Any = "what?") -> Predictions:
    writer = Predictions(str(folder), file)
    writer.begin(asked)
    return writer


def test_answers_become_a_table_in_the_order_of_the_images(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    for first in (2, 0):  # as several processes may finish
        keep(writer, first, BATCHES[first])
    assert writer.finish([0, 2]) == (2, ["c.png"])
    with (tmp_path / "predictions.csv").open(newline="") as file:
        assert list(csv.reader(file)) == LINES
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


@pytest.mark.parametrize("file", ["answers.csv", "answers.parquet"])
def test_every_name_can_be_written_and_that_of_an_image_be_read_back(
    file: str, tmp_path: Path
) -> None:
    path = Path(os.fsdecode(b"img/caf\xe9\\.png"))
    writer = begun(tmp_path, file)
    keep(writer, 0, [predicted(printable(path), "pets", "d\udce9j\xe0", 0.5)])
    writer.finish([0])
    if file.endswith(".csv"):
        with (tmp_path / file).open(newline="", encoding="utf-8") as table:
            _, (name, _, answer, *_) = csv.reader(table)
    else:
        [row] = pq.read_table(tmp_path / file).to_pylist()
        name, answer = row["image"], row["class"]
    assert (name, path_of(name)) == (r"img/caf\xe9\\.png", path)
    assert answer == r"d\udce9jà"


def test_a_spreadsheet_runs_nothing_of_a_table(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    keep(writer, 0, [predicted("-1+1.png", "@task", "=SUM(A1)", 0.5)])
    writer.finish([0])
    with (tmp_path / "predictions.csv").open(newline="") as file:
        _, (name, task, answer, *_) = csv.reader(file)
    assert (name, task, answer) == ("'-1+1.png", "'@task", "'=SUM(A1)")
    assert [csv_text(cell) for cell in (name, task, answer)] == ["-1+1.png", "@task", "=SUM(A1)"]


@pytest.mark.parametrize("rows_at_once", [1, 100])
def test_parquet_has_the_same_rows_and_all_digits(
    rows_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_table, "ROWS_AT_ONCE", rows_at_once)
    writer = begun(tmp_path, "answers.parquet")
    for first, answers in BATCHES.items():
        keep(writer, first, answers)
    writer.finish(BATCHES)
    table = pq.read_table(tmp_path / "answers.parquet")
    assert table.column_names == HEADER
    expected = [cells(answer) for answers in BATCHES.values() for answer in answers]
    assert [list(row.values()) for row in table.to_pylist()] == expected


def test_answers_that_an_earlier_version_has_kept_are_read(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    for first, answers in BATCHES.items():
        keep(writer, first, answers)
        without_names = [cells(answer) for answer in answers]
        (writer.parts / f"{first}.json").write_text(json.dumps(without_names))
    writer.finish(BATCHES)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        assert list(csv.reader(file)) == LINES


def test_who_begins_again_is_told_what_is_answered(tmp_path: Path) -> None:
    keep(begun(tmp_path), 2, BATCHES[2])
    assert Predictions(str(tmp_path)).begin("what?") == {2}
    assert Predictions(str(tmp_path)).begin("what else?") == set()
    assert Predictions(str(tmp_path)).begin("what?", anew=True) == set()
    assert Predictions(str(tmp_path)).begin("what?") == set()


def test_what_was_being_written_when_a_job_was_killed_counts_for_nothing(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    keep(writer, 2, BATCHES[2])
    (writer.parts / ".0.123.json").write_text("[[")
    assert writer.begin("what?") == {2}


def test_a_table_with_gaps_is_not_written(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    keep(writer, 0, BATCHES[0])
    with pytest.raises(WeMoEError, match=r"^1 of 2 batches have no predictions yet: run the s"):
        writer.finish([0, 2])
    assert not (tmp_path / "predictions.csv").exists()
    assert writer.begin("what?") == {0}


def test_no_table_is_written_of_nothing_but_errors(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    keep(writer, 0, [Prediction.unreadable("c.png", "c.png is torn")])
    with pytest.raises(
        DataError, match=r"^None of the images can be read: c\.png\. c\.png is torn\.$"
    ):
        writer.finish([0])
    assert not list(tmp_path.iterdir())


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    keep(writer, 0, BATCHES[0])
    part = writer.parts / "0.json"
    part.write_text(json.dumps([cells(answer) for answer in BATCHES[0]])[:20])
    with pytest.raises(WeMoEError, match=r"0\.json is damaged: remove it and run the same command"):
        writer.finish([0])
    assert part.is_file()


@pytest.mark.parametrize("file", ["answers", "answers.xls", "../answers.csv", "/tmp/a.csv"])
def test_the_name_of_the_table_says_its_form(file: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^predictions\.file is {file}: .* \.csv or \.parquet"):
        Predictions(str(tmp_path), file)

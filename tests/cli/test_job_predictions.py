"""What `predict` answered before is left out only if the same was asked."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.plain_images import random_image

from wemoe_pl.callbacks.predictions import Predictions
from wemoe_pl.cli import main
from wemoe_pl.cli.job_predictions import question_of, skip_answered, write_answers
from wemoe_pl.model.answering import Prediction
from wemoe_pl.system.console import Console

RECIPE = {
    **dict.fromkeys(("model", "suite", "task", "tasks", "unseen", "ckpt_path")),
    "trainer": {"precision": "32-true"},
}


class Images:
    """Two images to classify, each a batch of its own."""

    images = SimpleNamespace(fingerprint="abc")
    source = ("a", "b")
    batches = range(2)

    def __init__(self, batch_size: int = 1):
        self.batch_size = batch_size
        self.left_out: set[int] = set()

    def leave_out(self, answered: set[int]) -> None:
        self.left_out = answered


@pytest.fixture
def model() -> Any:
    return SimpleNamespace(frozen_sources={"pretrained": {"sha256": "0"}}, method="wemoe")


def answer(trainer: Any, predictions: Predictions, first: int) -> None:
    batch: Any = SimpleNamespace(first=first)
    said = Prediction("mnist", None, "3", 0.5, [], f"{first}.png")
    predictions.on_predict_batch_end(trainer, trainer, [said], batch, first)


def test_answers_to_the_same_question_are_left_out_and_come_out_in_order(
    model: Any, tmp_path: Path
) -> None:
    predictions = Predictions(str(tmp_path))
    trainer: Any = SimpleNamespace(callbacks=[predictions])
    images: Any = Images()
    skip_answered(trainer, model, images, RECIPE, is_fresh=False)
    answer(trainer, predictions, 1)
    skip_answered(trainer, model, images, RECIPE, is_fresh=False)
    assert images.left_out == {1}
    answer(trainer, predictions, 0)
    console = Console(record=True, width=500)
    write_answers(trainer, model, images, console)
    assert console.export_text() == f"2 predictions are in {tmp_path / 'predictions.csv'}\n"
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["image", "0.png", "1.png"]


def test_images_of_none_of_the_tasks_are_counted(model: Any, tmp_path: Path) -> None:
    predictions = Predictions(str(tmp_path))
    trainer: Any = SimpleNamespace(callbacks=[predictions])
    images: Any = Images()
    skip_answered(trainer, model, images, RECIPE, is_fresh=False)
    answer(trainer, predictions, 0)
    said = [Prediction.of_none(0.25)._replace(image="1.png")]
    batch: Any = SimpleNamespace(first=1)
    predictions.on_predict_batch_end(trainer, trainer, said, batch, 1)
    console = Console(record=True, width=500)
    write_answers(trainer, model, images, console)
    assert console.export_text().endswith("predictions.csv, 1 of them by none of the tasks\n")
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert lines[2] == "1.png,,,,0.250000,"


@pytest.mark.parametrize(("size", "fresh"), [(2, False), (1, True)])
def test_another_question_and_a_fresh_start_leave_nothing_out(
    size: int, fresh: bool, model: Any, tmp_path: Path
) -> None:
    predictions = Predictions(str(tmp_path))
    trainer: Any = SimpleNamespace(callbacks=[predictions])
    images: Any = Images(size)
    before: Any = Images()
    skip_answered(trainer, model, before, RECIPE, is_fresh=False)
    answer(trainer, predictions, 0)
    skip_answered(trainer, model, images, RECIPE, is_fresh=fresh)
    assert images.left_out == set()


def test_a_question_tells_models_and_images_apart(model: Any) -> None:
    one: Any = Images()
    other: Any = Images(2)
    asked = question_of(RECIPE, model, one)
    assert asked["images"] == [("a", "b"), "abc"]
    assert asked != question_of({**RECIPE, "task": "mnist"}, model, one)
    assert asked != question_of(RECIPE, model, other)


def predicted(config: Path, images: Path, out: Path, *more: str) -> list[str]:
    """The tasks that a command infers, in the order of the images; empty for none of them."""
    command = ["predict", "--config", str(config), "--data.images", str(images), *more]
    assert main.main([*command, "--model.infer_task", "entropy", "--out", str(out)]) == 0
    with (out / "predictions.csv").open(newline="") as file:
        return [row["task"] for row in csv.DictReader(file)]


def test_a_static_merge_that_was_scored_knows_images_of_none_of_its_tasks(
    tiny_suite_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])
    images, run = tmp_path / "images", tmp_path / "run"
    images.mkdir()
    for seed in range(2):
        random_image(28, 28, seed).save(images / f"{seed}.png")
    job = ("--config", "task_arithmetic", "--suite", str(tiny_suite_yaml))
    assert main.main(["test", *job, "--model.references", "false", "--out", str(run)]) == 0
    results = json.loads((run / "results.json").read_text())
    known = results["unknown_task"]["entropy"]["threshold"]
    assert known
    results["unknown_task"]["entropy"]["threshold"] = dict.fromkeys(results["tasks"], 1.0)
    (run / "results.json").write_text(json.dumps(results))
    assert predicted(run / "config.yaml", images, tmp_path / "one") == ["", ""]
    with pytest.warns(UserWarning, match="cannot say that an image belongs to none of the"):
        other = predicted(
            run / "config.yaml", images, tmp_path / "other", "--model.merge.scaling", "0.1"
        )
    assert "" not in other

"""`bench serve` measures each way to run the model of a run, on images of its suite."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from wemoe_pl import adapt
from wemoe_pl.bench.names import BENCH_NOTE, SERVE_NOTE, note_on
from wemoe_pl.bench.serve import (
    LabelledImages,
    Way,
    accuracy_of,
    of_all_tasks,
    of_one_task,
    serve,
    ways_to_run,
)
from wemoe_pl.bench.subjects import Settings
from wemoe_pl.cli.main import main
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import open_model
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE


def run_of(suite: Suite, merge: MergeMethod, out: Path) -> Path:
    small: dict[str, Any] = {"steps": 1, "batch_size": 2, "references": False, "progress": False}
    adapt(suite, merge=merge, out=out, trainer={"accelerator": "cpu"}, **small)
    return out


@pytest.fixture(scope="module")
def run(tiny_suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose routers tell images apart."""
    merge = WEMoE(init_std=0.3)
    return run_of(tiny_suite, merge, tmp_path_factory.mktemp("served") / "run")


@pytest.fixture(scope="module")
def model(run: Path) -> ExportedModel:
    return open_model(run)


def test_each_way_runs_its_own_models(model: ExportedModel) -> None:
    ways = {way.name: way for way in ways_to_run(model, Settings())}
    routed, known, static = (
        ways[name] for name in ("routed", "task known", "static task arithmetic")
    )
    images = torch.randn(4, 3, 28, 28)
    with torch.no_grad():
        for task in model.classifier.tasks:
            expected = model.classifier(images, task)
            torch.testing.assert_close(routed.alone(images, task), expected)
            torch.testing.assert_close(routed.mixed({task: images})[task], expected)
            expected = model.classifier.specialise(task)(images)
            torch.testing.assert_close(known.alone(images, task), expected)
            torch.testing.assert_close(known.mixed({task: images})[task], expected)
    assert len(known.models) == len(model.classifier.tasks)
    assert routed.nbytes > static.nbytes
    assert known.nbytes == pytest.approx(len(known.models) * static.nbytes, rel=0.3)
    assert [way.is_static for way in ways.values()] == [False, False, True, True, True]


def test_weights_that_two_models_share_are_counted_once() -> None:
    model = torch.nn.Linear(3, 2)
    way = Way("twice", [model, model], lambda images, task: images, dict)
    assert way.nbytes == 4 * (3 * 2 + 2)


def test_accuracy_is_the_share_of_right_answers() -> None:
    logits = {"a": torch.eye(4), "b": torch.eye(4)[[1, 1, 1, 1]]}
    way = Way("known", [], lambda images, task: logits[task][images[:, 0].long()], dict)
    images = LabelledImages(torch.arange(4.0)[:, None], torch.arange(4))
    assert accuracy_of(way, {"a": images, "b": images}) == {"a": 1.0, "b": 0.25}


@pytest.mark.parametrize(
    ("samples", "sizes"), [(1, [1]), (2, [1, 1]), (4, [2, 1, 1]), (30, [10, 10, 10])]
)
def test_a_batch_of_all_tasks_is_shared_evenly(samples: int, sizes: list[int]) -> None:
    three = LabelledImages(torch.arange(3.0)[:, None], torch.arange(3))
    found = of_all_tasks(dict.fromkeys("abc", three), samples)
    assert [len(images) for images in found.values()] == sizes
    assert of_one_task(three.images, 5).flatten().tolist() == [0, 1, 2, 0, 1]


def test_it_prints_a_row_per_way_and_number_of_samples(
    run: Path, model: ExportedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--run", str(run), "--samples", "1,3", "--repeats", "1", "--images", "5"]
    assert main(["bench", *options, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "of some of the suite's own test images" in printed
    assert "times and sizes" not in printed
    written = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert written["about"]["note"] == SERVE_NOTE
    rows = written["serve"]
    assert [row["samples"] for row in rows] == [1] * 5 + [3] * 5
    first, *_, last = rows[:5]
    assert (first["way"], last["way"]) == ("routed", "static task arithmetic")
    assert first["worst"] == 0
    assert (last["alone ×"], last["mixed ×"]) == (1, 1)
    best = [row["accuracy"] for row in rows[:5] if row["best"]]
    assert best == [max(row["accuracy"] for row in rows[2:5])]
    [routed] = [way for way in ways_to_run(model, Settings()) if way.name == first["way"]]
    right = []
    for task in model.classifier.tasks:  # the same choice of images, one by one
        images = model.suite.task(task).images("test")
        chosen = torch.randperm(20, generator=torch.Generator().manual_seed(0))[:5].tolist()
        for index in chosen:
            image, label = images[index]
            logits = routed.alone(model.preprocessing(image)[None], task)
            right.append(logits.argmax().item() == label)
    assert first["accuracy"] == pytest.approx(100 * sum(right) / len(right))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["serve"], "`bench serve` measures the model of a run: give its folder by --run."),
        (["layer", "--run", "here"], "--run is read by `bench serve` alone: leave it out, or add"),
        (["--run", "nowhere", "--images", "0"], "--images is 0: give a number from 1."),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *args, "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_static_merge_has_no_ways_to_choose_from(tiny_suite: Suite, tmp_path: Path) -> None:
    run = run_of(tiny_suite, TaskArithmetic(), tmp_path / "static")
    with pytest.raises(ConfigError, match="task arithmetic gives one model for all images"):
        next(serve(Settings(run=str(run))))


def test_a_note_says_what_the_figures_are_of() -> None:
    assert note_on(["layer", "plan"]) == BENCH_NOTE
    assert note_on(["serve"]) == SERVE_NOTE
    assert note_on(["layer", "serve"]) == f"{BENCH_NOTE} {SERVE_NOTE}"

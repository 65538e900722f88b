"""Scores against counts written out, with references and without labels, and samples to look at."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from PIL import Image

from wemoe_pl.cli import main
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask, VisionTask
from wemoe_pl.export.loading import load
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.recipe import describe
from wemoe_pl.reporting.results import collect_results, write_results
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.evaluation import SAMPLES

NewTrainer = Callable[..., L.Trainer]
TASKS = ["cars", "dtd", "mnist"]


def scored(
    suite: Suite, trainer: L.Trainer, merge: MergeMethod, **options: Any
) -> TestTimeAdaptation:
    module = TestTimeAdaptation(suite, merge, **options)
    trainer.test(module, MultiTaskData(suite, test_batch_size=8), verbose=False)
    return module


def test_a_test_counts_what_the_classifier_answers(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = scored(tiny_suite, quiet_trainer(), TaskArithmetic(0.1))
    data = MultiTaskData(tiny_suite)
    for task in TASKS:
        images = data.sets.load(ImageSet(task, "test"))
        correct = 0
        for index in range(len(images)):
            image, label = images[index]
            correct += int(module.classifier(image[None], task).argmax() == label)
        assert module.test_results["accuracy"][task] == pytest.approx(correct / len(images))


def test_references_are_the_ends_and_the_start_of_adaptation(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    reference = scored(tiny_suite, quiet_trainer(), WEMoE(0.2)).test_results["reference"]
    ends: dict[str, MergeMethod] = {
        "pretrained": Pretrained(),
        "task_arithmetic": TaskArithmetic(0.2),
        "individual": Individual(),
    }
    for name, method in ends.items():
        alone = scored(tiny_suite, quiet_trainer(), method, references=False)
        assert alone.test_results["accuracy"] == reference[name]


def test_references_can_be_left_out(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    module = scored(tiny_suite, quiet_trainer(), WEMoE(), references=False)
    assert module.test_results["reference"] == {}
    assert collect_results(module, seed=0)["normalized_mean"] is None


def test_routing_starts_at_lambda_for_every_task(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = scored(tiny_suite, quiet_trainer(), WEMoE(0.25, router_depth=0), references=False)
    assert list(module.routing) == TASKS
    for weights in module.routing.values():
        torch.testing.assert_close(weights.mean, torch.full((2, 3), 0.25))
    assert not any(mixture.record_routing for mixture in module.classifier.mixtures)


def test_some_images_of_every_task_are_kept_with_what_is_said_of_them(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = scored(tiny_suite, quiet_trainer(), WEMoE(0.25, router_depth=0), references=False)
    data = MultiTaskData(tiny_suite)
    for task in TASKS:
        kept, images = module.samples[task], data.sets.load(ImageSet(task, "test"))
        assert len(kept) == min(SAMPLES, 3)  # of three batches of eight
        for place, sample in enumerate(kept):
            image, label = images[8 * place]
            torch.testing.assert_close(sample.image, image)
            probabilities = module.classifier(image[None], task).softmax(dim=-1)[0]
            classes = module.classifier.head(task).classes
            assert sample.label == classes[label]
            assert sample.predicted_class == classes[int(probabilities.argmax())]
            assert sample.probability == pytest.approx(probabilities.max().item(), abs=1e-5)
            assert sample.routing == pytest.approx(dict.fromkeys(TASKS, 0.25))


def test_a_task_without_expert_is_scored_too(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    seen = replace(tiny_suite, experts={t: tiny_suite.experts[t] for t in ("cars", "dtd")})
    results = collect_results(scored(seen, quiet_trainer(), WEMoE()), seed=0)
    assert list(results["accuracy"]) == TASKS
    assert list(results["reference"]["individual"]) == ["cars", "dtd"]


def without_labels(suite: Suite, folder: Path, *tasks: str) -> Suite:
    """The suite, the images of these tasks without labels."""
    for i in range(5):
        Image.effect_noise((28, 28), 60).convert("RGB").save(folder / f"{i}.png")
    unlabelled: dict[str, VisionTask] = {
        task: ImageFolderTask(test=str(folder), labelled=False) for task in tasks
    }
    return replace(suite, tasks=suite.tasks | unlabelled)


def test_a_task_without_labels_is_left_out_of_the_scores(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    suite, trainer = without_labels(tiny_suite, tmp_path, "dtd"), quiet_trainer()
    module = scored(suite, trainer, WEMoE())
    results, whole = (
        collect_results(each, seed=0)
        for each in (module, scored(tiny_suite, quiet_trainer(), WEMoE(), references=False))
    )
    assert results["tasks"] == ["cars", "mnist"]
    assert list(results["calibration_error"]) == ["cars", "mnist"]
    for accuracy in (results["accuracy"], *results["reference"].values()):
        assert list(accuracy) == ["cars", "mnist"]
    assert results["mean"] == pytest.approx(sum(results["accuracy"].values()) / 2)
    assert whole["tasks"] == TASKS
    assert "test/acc/dtd" not in trainer.logged_metrics
    assert list(module.routing) == TASKS  # which needs no labels


def test_a_run_without_any_labels_still_leaves_results(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    trainer = quiet_trainer()
    module = scored(without_labels(tiny_suite, tmp_path, *TASKS), trainer, WEMoE())
    trainer.validate(module, verbose=False, datamodule=MultiTaskData(module.suite))
    write_results(tmp_path / "results.json", collect_results(module, seed=0))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["tasks"] == TASKS
    assert results["accuracy"] == {}
    assert (results["mean"], results["normalized_mean"]) == (None, None)
    assert results["reference"] == {"pretrained": {}, "task_arithmetic": {}, "individual": {}}
    assert set(results["sources"]) == set(tiny_suite.sources())


def test_a_whole_run_on_images_without_any_labels_ends_well(
    tiny_suite: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    suite = without_labels(tiny_suite, tmp_path / "images", *TASKS)
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(describe(suite)))
    out = tmp_path / "run"
    job = ["--config", "adapt_miniature", "--suite", str(tmp_path / "suite.yaml")]
    steps = ["--trainer.max_steps", "2", "--out", str(out)]
    try:
        status = main.main(["fit", *job, *steps])
    finally:
        torch.use_deterministic_algorithms(False)  # it outlives its trainer
    assert status == 0, capsys.readouterr().err
    results = json.loads((out / "results.json").read_text())
    assert (results["tasks"], results["mean"], results["normalized_mean"]) == (TASKS, None, None)
    agreement = results["reference_agreement"] | {"own": results["agreement"]}
    assert agreement.pop("individual") == dict.fromkeys(TASKS, 1.0)
    assert list(agreement) == ["pretrained", "task_arithmetic", "own"]
    assert results["adaptation"]["before"]["scores"]["agreement"].keys() == set(TASKS)
    shown = capsys.readouterr().out
    assert "Agreement with the experts on tiny, %" in shown
    assert "Arrows lead from step 0 to step 2." in shown
    assert (out / "agreement.png").is_file()
    assert (out / "routing.png").is_file()
    assert load(out).tasks == tuple(TASKS)

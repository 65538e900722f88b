"""`adapt` does the job of the command line, bit for bit, and leaves nothing unasked."""

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from helpers.plain_images import random_image
from PIL import Image
from torch import nn

from wemoe_pl import adapt, load
from wemoe_pl.cli.main import main
from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import InMemoryTask
from wemoe_pl.errors import CheckpointError, ConfigError, DataError
from wemoe_pl.export.adapting import Adapted, suite_from
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.training.adapt import TestTimeAdaptation

NewVit = Callable[..., nn.Module]
FAST: dict[str, Any] = {"steps": 3, "batch_size": 4, "references": False, "progress": False}
ON_CPU: dict[str, Any] = {"trainer": {"accelerator": "cpu"}}


def images_of(suite: Suite, task: str, count: int = 20) -> list[Image.Image]:
    found = suite.task(task).images("test")
    return [found[i][0] for i in range(count)]


def test_it_comes_to_what_the_command_comes_to(
    tiny_suite: Suite, tiny_suite_yaml: Path, tmp_path: Path
) -> None:
    job = ["fit", "--config", "adapt_miniature.yaml", "--suite", str(tiny_suite_yaml)]
    options = ["--trainer.max_steps", "3", "--trainer.val_check_interval", "1", "--quiet"]
    sizes = ["--data.batch_size", "4", "--seed_everything", "5"]
    assert main([*job, *options, *sizes, "--out", str(tmp_path / "run")]) == 0
    expected = json.loads((tmp_path / "run" / "results.json").read_text())
    adapted = adapt(
        tiny_suite, steps=3, batch_size=4, seed=5, learning_rate=5e-3, progress=False, **ON_CPU
    )
    shown = ("accuracy", "information", "calibration_error", "unknown_task", "reference", "method")
    assert {key: adapted.results[key] for key in shown} == {key: expected[key] for key in shown}
    images = torch.randn(2, 3, 28, 28)
    for task in tiny_suite.tasks:
        ours, theirs = (model(images, task) for model in (adapted.model, load(tmp_path / "run")))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_it_returns_model_table_and_pictures_and_leaves_no_file(
    tiny_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("lightning.pytorch").level
    random = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Expert '")  # of random weights
        adapted = adapt(tiny_suite, **FAST, **ON_CPU)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert torch.equal(torch.get_rng_state(), random)
    assert logging.getLogger("lightning.pytorch").level == level
    assert adapted.accuracy == {"WEMoE": adapted.results["accuracy"]}
    assert {"accuracy", "adaptation", "confusion", "routing"} <= set(adapted.pictures)
    for task in tiny_suite.tasks:
        assert task in str(adapted)
    assert set(adapted._repr_mimebundle_([], [])) == {"text/plain", "text/html"}


def test_it_learns_what_a_seed_says(tiny_suite: Suite) -> None:
    first, again, other = (adapt(tiny_suite, seed=s, **FAST, **ON_CPU) for s in (0, 0, 1))
    learned = [
        [p for p in adapted.model.parameters() if p.requires_grad]
        for adapted in (first, again, other)
    ]
    assert all(map(torch.equal, learned[0], learned[1]))
    assert not all(map(torch.equal, learned[0], learned[2]))


def test_images_without_labels_take_the_place_of_the_suites_own(tiny_suite: Suite) -> None:
    images = {task: images_of(tiny_suite, task) for task in tiny_suite.tasks}
    own = adapt(tiny_suite, **FAST, **ON_CPU)
    adapted = adapt(tiny_suite, images, **FAST, **ON_CPU)
    assert adapted.results["accuracy"] == {}
    assert adapted.results["information"] == own.results["information"]
    labels = tiny_suite.task("mnist").images("test").labels
    labelled = {"mnist": InMemoryTask([np.asarray(image) for image in images["mnist"]], labels)}
    mixed = adapt(tiny_suite, images | labelled, **FAST, **ON_CPU)
    assert mixed.results["accuracy"] == {"mnist": own.results["accuracy"]["mnist"]}


def test_models_of_ones_own_are_adapted_on_images_of_any_size(tiny_vit: NewVit) -> None:
    models = {"pretrained": tiny_vit(0), "a": tiny_vit(1, num_classes=3)}
    models["b"] = tiny_vit(2, num_classes=2)
    mixed = [random_image(9 + seed, 7, seed) for seed in range(5)]
    images = {"a": mixed, "b": torch.rand(6, 3, 8, 8)}
    adapted = adapt(models, images, **FAST, **ON_CPU)
    assert adapted.model.num_classes == {"a": 3, "b": 2}
    [answer] = adapted.model.predict(mixed[0], task="a")
    assert answer.class_name in ("0", "1", "2")
    assert models["a"].get_submodule("head").out_features == 3  # left as it was


def test_an_unlabelled_model_is_exported_and_loaded_again(tiny_vit: NewVit, tmp_path: Path) -> None:
    models = {"pretrained": tiny_vit(0), "a": tiny_vit(1, num_classes=3)}
    adapted = adapt(models, {"a": torch.rand(6, 3, 8, 8)}, **FAST, **ON_CPU)
    assert adapted.export(str(tmp_path / "bundle")) == tmp_path / "bundle"
    images = torch.randn(2, 3, 32, 32)
    loaded = load(tmp_path / "bundle")
    torch.testing.assert_close(loaded(images, "a"), adapted.model(images, "a"), rtol=0, atol=0)
    assert adapted.results == adapted.results | {"accuracy": {}, "mean": None}
    assert "Without labels" in str(adapted)
    assert adapted.accuracy == {}


def test_its_model_says_none_of_them_as_the_one_that_is_loaded(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    adapted = adapt(tiny_suite, **FAST, **ON_CPU)
    adapted.export(tmp_path / "bundle")
    thresholds, mean_routing = adapted.model.measured
    assert thresholds["entropy"]
    assert set(thresholds["entropy"]) <= set(tiny_suite.tasks)  # of those that are ever inferred
    assert set(mean_routing) == set(tiny_suite.tasks)
    assert load(tmp_path / "bundle").measured == adapted.model.measured


@pytest.mark.parametrize("merge", [SimpleAverage(), AdaMerging()])
def test_every_method_goes_through_it(merge: Any, tiny_suite: Suite, tmp_path: Path) -> None:
    adapted = adapt(tiny_suite, merge=merge, **FAST, **ON_CPU)
    assert adapted.results["method"] == merge.label
    adapted.export(tmp_path / "bundle")
    images = torch.randn(2, 3, 28, 28)
    ours, theirs = adapted.model(images, "cars"), load(tmp_path / "bundle")(images, "cars")
    torch.testing.assert_close(ours, theirs)


def test_the_note_of_a_suite_is_said_of_its_own_tasks_alone() -> None:
    images = [Image.new("RGB", (8, 8))] * 2
    suite = read_suite("miniature")
    noted = {
        count: suite_from(suite, dict.fromkeys([*suite.tasks][:count], images), None, None).note
        for count in (0, 6, 8)
    }
    assert suite.note.startswith("Rendered images")
    assert noted == {0: suite.note, 6: f"{suite.note} This note is about mnist, dtd.", 8: ""}


def test_what_an_argument_is_instead_is_said(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"^`merge` is a merge method, .* and not 'WEMoE'\.$"):
        adapt(tiny_suite, merge="WEMoE")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"no argument 'acelerator'\. Did you mean 'accelerator'"):
        adapt(tiny_suite, trainer={"acelerator": "cpu"})
    with pytest.raises(
        ConfigError, match=r"no argument 'accelerator'\. Give it as `trainer={'acce"
    ):
        adapt(tiny_suite, accelerator="cpu")
    with pytest.raises(
        DataError, match=r"^images\['mnist'\]: .* not the path 'photos': give `Image"
    ):
        adapt(tiny_suite, {"mnist": "photos"})


def test_an_argument_that_there_is_not_is_answered_with_the_nearest(tiny_suite: Suite) -> None:
    sentence = r"`adapt` has no argument 'learning_rat'\. Did you mean 'learning_rate'\?"
    with pytest.raises(ConfigError, match=sentence):
        adapt(tiny_suite, learning_rat=0.1, **FAST, **ON_CPU)


def test_the_images_have_the_options_of_a_config(
    tiny_suite: Suite, tiny_suite_yaml: Path, tmp_path: Path
) -> None:
    out, ran = tmp_path / "run", tmp_path / "ran"
    few = {"images_per_task": 6, "corruption": Corruption("contrast", 2)}
    adapted = adapt(tiny_suite, **FAST, **ON_CPU, data=few, out=out)
    assert adapted.results["corruption"]["kind"] == "contrast"
    job = ["fit", "--config", "adapt_miniature", "--suite", str(tiny_suite_yaml), "--quiet"]
    options = ["--data.images_per_task", "6", "--data.corruption", "{kind: contrast, severity: 2}"]
    sizes = ["--data.batch_size", "4", "--trainer.max_steps", "3", "--model.learning_rate", "1e-4"]
    assert main([*job, *options, *sizes, "--model.references", "false", "--out", str(ran)]) == 0
    assert json.loads((ran / "results.json").read_text())["accuracy"] == adapted.accuracy["WEMoE"]
    config = yaml.safe_load((out / "config.yaml").read_text())["data"]["init_args"]
    assert (config["images_per_task"], config["corruption"]["severity"]) == (6, 2)
    again = adapt(tiny_suite, **FAST, **ON_CPU, data=few, out=out)
    assert again.results["finished"] == adapted.results["finished"]
    refused("another config", ConfigError, tiny_suite, data={"images_per_task": 5}, out=out)


def test_options_of_images_that_there_are_not_are_refused(tiny_suite: Suite) -> None:
    sentence = r"no argument 'images_per_tsk'\. Did you mean 'images_per_task'\?"
    refused(sentence, ConfigError, tiny_suite, data={"images_per_tsk": 5})
    refused(
        "'batch_size' is an argument of `adapt`", ConfigError, tiny_suite, data={"batch_size": 5}
    )
    sentence = r"no argument 'proportions'\. Give it as `data={'proportions': …}`"
    refused(sentence, ConfigError, tiny_suite, proportions={"cars": 1.0})


def refused(sentence: str, kind: type[Exception], *arguments: Any, **options: Any) -> None:
    with pytest.raises(kind, match=sentence):
        adapt(*arguments, **{**FAST, **ON_CPU, **options})


def test_mistakes_end_in_a_sentence(tiny_suite: Suite, tiny_vit: NewVit) -> None:
    models = {"pretrained": tiny_vit(0), "a": tiny_vit(1), "b": tiny_vit(2)}
    images = {"a": torch.rand(4, 3, 8, 8), "b": torch.rand(4, 3, 8, 8)}
    heads = {task: nn.Linear(16, 2) for task in images}
    refused("no images for 'b': give some", ConfigError, models, {"a": images["a"]}, heads=heads)
    refused("no head for 'a'", ConfigError, models, images)
    refused("no task 'crs'. Did you mean 'cars'", ConfigError, tiny_suite, {"crs": images["a"]})
    refused("no suite 'minature'.*Did you mean 'miniature'", ConfigError, "minature")
    refused(
        "values from -.* numbers from 0 to 1",
        DataError,
        models,
        {**images, "a": -images["b"]},
        heads=heads,
    )
    refused(
        "has its own heads and backbone: leave out `heads`", ConfigError, tiny_suite, heads=heads
    )
    refused("and leave out `max_steps`", ConfigError, tiny_suite, trainer={"max_steps": 3})
    refused("in one process, on one device", ConfigError, tiny_suite, trainer={"devices": 2})
    refused("steps is 0: give a number from 1", ConfigError, tiny_suite, steps=0)
    with pytest.raises(DataError) as failed:
        adapt(models, {**images, "b": images["a"] + 1}, heads=heads, **FAST, **ON_CPU)
    assert failed.value.__notes__ == ["It is one of the test images of 'b'."]
    labelled = {**images, "a": InMemoryTask(images["a"], [0, 1, 2, 0])}
    refused("label 2: expected a number from 0 to 1", DataError, models, labelled, heads=heads)


def test_a_callback_and_a_logger_of_ones_own_see_the_fit(tiny_suite: Suite) -> None:
    class Steps(L.Callback):
        seen = 0

        def on_train_batch_end(self, *arguments: Any) -> None:
            self.seen += 1

    steps = Steps()
    adapt(tiny_suite, **FAST, trainer={"accelerator": "cpu", "callbacks": steps})
    assert steps.seen == 3


def test_a_run_in_a_folder_is_one_of_the_command_line(
    tiny_suite: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    adapted = adapt(tiny_suite, **FAST, **ON_CPU, out=out)
    left = {path.name for path in out.iterdir()}
    assert {"results.json", "config.yaml", "summary.md", "checkpoints", "logs"} <= left
    assert json.loads((out / "results.json").read_text()) == adapted.results
    images = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(load(out)(images, "cars"), adapted.model(images, "cars"))
    last = out / "checkpoints" / "last.ckpt"
    module = TestTimeAdaptation.load_from_checkpoint(last)
    torch.testing.assert_close(module.classifier(images, "cars"), adapted.model(images, "cars"))
    assert (
        main(["test", "--config", str(out / "config.yaml"), "--out", str(tmp_path / "again")]) == 0
    )
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["accuracy"] == adapted.results["accuracy"]
    assert main(["report", str(out)]) == 0
    assert "WEMoE" in capsys.readouterr().out


def test_the_same_call_gives_what_is_there_and_another_is_refused(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first = adapt(tiny_suite, **FAST, **ON_CPU, out=out)
    again = adapt(tiny_suite, **FAST, **ON_CPU, out=out)
    assert again.results["finished"] == first.results["finished"]
    assert set(again.pictures) == set(first.pictures)
    images = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(again.model(images, "dtd"), first.model(images, "dtd"))
    refused("finished run of another config", ConfigError, tiny_suite, steps=2, out=out)
    refused("finished run of another config", ConfigError, tiny_suite, merge=WEMoE(0.2), out=out)
    fresh = adapt(tiny_suite, **{**FAST, "steps": 2}, **ON_CPU, out=out, fresh=True)
    assert fresh.results["checkpoint"]["step"] == 2


def test_a_run_that_was_interrupted_goes_on(tiny_suite: Suite, tmp_path: Path) -> None:
    class Interrupt(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *arguments: Any) -> None:
            if trainer.global_step == 2:
                raise RuntimeError("interrupted")

    interrupted = {"accelerator": "cpu", "callbacks": [Interrupt()]}
    with pytest.raises(RuntimeError, match="interrupted"):
        adapt(tiny_suite, **FAST, out=tmp_path / "run", trainer=interrupted)
    adapted = adapt(tiny_suite, **FAST, **ON_CPU, out=tmp_path / "run")
    uninterrupted = adapt(tiny_suite, **FAST, **ON_CPU)
    images = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(
        adapted.model(images, "dtd"), uninterrupted.model(images, "dtd"), rtol=0, atol=0
    )


def test_models_in_memory_are_kept_by_an_export_alone(tiny_vit: NewVit, tmp_path: Path) -> None:
    models = {"pretrained": tiny_vit(0), "a": tiny_vit(1, num_classes=3)}
    images = {"a": torch.rand(6, 3, 8, 8)}
    adapted: Adapted = adapt(models, images, **FAST, **ON_CPU, out=tmp_path / "run")
    with pytest.raises(CheckpointError, match="merged from weights in memory"):
        load(tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    module = TestTimeAdaptation.load_from_checkpoint(last, suite=adapted.suite)
    batch = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(module.classifier(batch, "a"), adapted.model(batch, "a"))

"""`load`: what a run, a checkpoint, an adapter and a bundle give, and what is refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from helpers.hub_content import write_clip, write_expert
from helpers.loopback_hub import LoopbackHub
from helpers.other_defaults import OTHER_DEFAULTS
from helpers.plain_images import random_image
from torch import Tensor

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.zero_shot import TextTower
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.miniature import CLASSES, MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask, VisionTask
from wemoe_pl.errors import CheckpointError, HubError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import load, open_model
from wemoe_pl.export.manifest import MANIFEST
from wemoe_pl.export.writing import export
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.recipe import describe
from wemoe_pl.training.adapt import TestTimeAdaptation

NewTrainer = Callable[..., L.Trainer]
BATCH_SIZE = 4
LEARNING_RATE = 0.01


def adapt(suite: Suite, trainer: L.Trainer) -> TestTimeAdaptation:
    torch.manual_seed(0)
    module = TestTimeAdaptation(suite, WEMoE(), learning_rate=LEARNING_RATE)
    trainer.fit(module, MultiTaskData(suite, batch_size=BATCH_SIZE))
    return module


def test_a_loaded_checkpoint_answers_as_the_adapted_model(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    trainer = quiet_trainer(max_steps=2)
    module = adapt(tiny_suite, trainer)
    trainer.save_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    images = torch.randn(2, 3, 28, 28)
    for source in (tmp_path, tmp_path / "checkpoints" / "last.ckpt"):
        loaded = load(source)
        assert loaded.tasks == module.classifier.tasks
        for task in loaded.tasks:
            assert loaded(images, task).equal(module.classifier.eval()(images, task))


def test_a_run_can_be_loaded_where_its_images_are_not(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    absent: dict[str, VisionTask] = {
        task: ImageFolderTask(test=str(tmp_path / task)) for task in tiny_suite.tasks
    }
    module = TestTimeAdaptation(tiny_suite, WEMoE())
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, MultiTaskData(tiny_suite, batch_size=BATCH_SIZE))
    module.suite = replace(tiny_suite, tasks=absent)
    trainer.save_checkpoint(tmp_path / "moved.ckpt")
    assert load(tmp_path / "moved.ckpt")(torch.randn(2, 3, 28, 28), "dtd").shape == (2, 10)


def test_a_run_whose_paths_are_relative_is_loaded_from_any_folder(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    elsewhere.mkdir()

    def brought(source: str) -> str:
        name = "-".join(Path(source).parts[-2:])
        (home / "models").mkdir(parents=True, exist_ok=True)
        shutil.copy(source, home / "models" / name)
        return f"models/{name}"

    suite = replace(
        tiny_suite,
        pretrained=brought(tiny_suite.pretrained),
        experts={task: brought(source) for task, source in tiny_suite.experts.items()},
        heads={task: brought(source) for task, source in tiny_suite.heads.items()},
    )
    monkeypatch.chdir(home)
    trainer = quiet_trainer(max_steps=1)
    module = adapt(suite, trainer)
    trainer.save_checkpoint("runs/mine/checkpoints/last.ckpt")
    merge = {"class_path": "wemoe_pl.WEMoE"}
    model = {"class_path": "TestTimeAdaptation", "init_args": {"merge": merge}}
    config = {"model": model, "suite": describe(suite), "trainer": {}, "out": "runs/mine"}
    (home / "runs" / "mine" / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(elsewhere)
    images = torch.randn(2, 3, 28, 28)
    for source in (home / "runs" / "mine", home / "runs" / "mine" / "checkpoints" / "last.ckpt"):
        assert load(source)(images, "cars").equal(module.classifier.eval()(images, "cars"))
    (home / "runs" / "mine" / "checkpoints" / "last.ckpt").unlink()
    assert load(home / "runs" / "mine").tasks == module.classifier.tasks


def test_what_is_no_run_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither a checkpoint nor the folder of a run"):
        load(tmp_path)
    (tmp_path / "some.ckpt").write_text("text")
    with pytest.raises(CheckpointError, match=r"some\.ckpt is damaged or not a checkpoint"):
        load(tmp_path / "some.ckpt")
    with pytest.raises(CheckpointError, match=r"There is no .*elsewhere: give the folder of a run"):
        load(tmp_path / "elsewhere")


# --- a run with zero-shot heads --------------------------------------------------------------


@pytest.fixture
def clip_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Two tasks with experts that are vision towers alone, and heads by a text tower."""
    monkeypatch.setenv("WEMOE_PL_CACHE", str(tmp_path / "cache"))
    sizes = {"img_size": 64, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 4}
    text_sizes = {"embed_dim": 32, "width": 32, "heads": 2, "layers": 2}
    clip = write_clip(tmp_path / "clip", seed=0)
    write_clip(tmp_path / "text", seed=1)
    tasks = ("cars", "mnist")
    for seed, task in enumerate(tasks, start=2):
        write_expert(tmp_path / task, clip, seed)
    return Suite(
        name="clip",
        backbone=Backbone("vit_base_patch32_clip_quickgelu_224", {**sizes, "num_classes": 32}),
        pretrained=str(tmp_path / "clip"),
        experts={task: str(tmp_path / task) for task in tasks},
        text_tower=TextTower("ViT-B-32-quickgelu", str(tmp_path / "text"), text_sizes),
        tasks={task: MiniatureTask(task, train_size=10, test_size=10) for task in tasks},
    )


@pytest.fixture
def finished(clip_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path) -> TestTimeAdaptation:
    """What an adaptation with zero-shot heads ends with; its run is in the folder `run`."""
    trainer = quiet_trainer(max_steps=2)
    module = adapt(clip_suite, trainer)
    trainer.save_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    return module


@pytest.mark.parametrize("cached", [True, False])
def test_a_run_with_zero_shot_heads_answers_as_it_did(
    finished: TestTimeAdaptation, tmp_path: Path, cached: bool
) -> None:
    if not cached:
        shutil.rmtree(tmp_path / "cache")
    loaded, images = load(tmp_path / "run"), torch.randn(2, 3, 64, 64)
    assert loaded.tasks == ("cars", "mnist")
    for task in loaded.tasks:
        assert loaded.head(task).classes == CLASSES[task]
        assert loaded(images, task).equal(finished.classifier.eval()(images, task))
    unadapted = build_classifier(finished.suite, WEMoE())
    assert not loaded(images, "cars").equal(unadapted(images, "cars"))


def test_a_run_with_zero_shot_heads_is_not_loaded_with_another_text_tower(
    finished: TestTimeAdaptation, tmp_path: Path
) -> None:
    write_clip(tmp_path / "text", seed=9)
    with pytest.raises(
        CheckpointError, match=r"other heads/cars: it was zero-shot, by .*/text .* Use the suite"
    ):
        load(tmp_path / "run")


# --- exports ----------------------------------------------------------------------------------


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Callable[[str], Path]:
    """`folder("bundle")`: an export of the run of one step."""

    def exported(name: str) -> Path:
        export(open_model(checkpoint), name, tmp_path / name, lambda line: None)
        return tmp_path / name

    return exported


def images() -> Tensor:
    return torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["adapter", "bundle"])
def test_an_export_answers_as_the_run(
    checkpoint: Path, folder: Callable[[str], Path], name: str
) -> None:
    run, place = load(checkpoint), folder(name)
    for source in (place, str(place), place / f"{name}.safetensors", place / MANIFEST):
        loaded = load(source)
        assert loaded.tasks == run.tasks
        assert loaded.experts == run.experts
        assert loaded.backbone == run.backbone
        assert not loaded.training
        for task in run.tasks:
            assert loaded.head(task).classes == run.head(task).classes
            assert loaded(images(), task).equal(run(images(), task))


def test_an_adapter_is_exported_again_and_a_bundle_is_not(
    folder: Callable[[str], Path], tmp_path: Path
) -> None:
    export(open_model(folder("adapter")), "bundle", tmp_path / "again", lambda line: None)
    whole = load(tmp_path / "again")
    assert whole(images(), "cars").equal(load(tmp_path / "adapter")(images(), "cars"))
    with pytest.raises(CheckpointError, match=r"in the format 'bundle', which wemoe-pl does not"):
        open_model(tmp_path / "again")


def test_a_bundle_needs_nothing_of_what_was_merged(
    folder: Callable[[str], Path], tiny_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder("bundle")
    about = json.loads((place / MANIFEST).read_text())
    about["recipe"]["suite"]["pretrained"] = "nowhere"
    about["recipe"]["suite"]["experts"] = {}
    (place / MANIFEST).write_text(json.dumps(about))
    assert load(place).tasks == tuple(tiny_suite.tasks)


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["adapter", "bundle"])
def test_a_file_that_is_missing_or_altered_is_named(
    folder: Callable[[str], Path], name: str
) -> None:
    place = folder(name)
    changed(place / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match=rf"{name}\.safetensors is not the file that was exp"):
        load(place)
    (place / f"{name}.safetensors").unlink()
    with pytest.raises(CheckpointError, match=rf"is incomplete: {name}\.safetensors is missing"):
        load(place)


def test_a_part_of_no_export_is_told_so(folder: Callable[[str], Path]) -> None:
    place = folder("bundle")
    (place / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match=r"part of no export: there is no wemoe_pl\.json"):
        load(place / "bundle.safetensors")


def test_an_adapter_is_not_put_on_other_experts(
    folder: Callable[[str], Path], tiny_suite: Suite
) -> None:
    place = folder("adapter")
    about = json.loads((place / MANIFEST).read_text())
    experts = about["recipe"]["suite"]["experts"]
    experts["cars"] = experts["dtd"]
    (place / MANIFEST).write_text(json.dumps(about))
    with (
        pytest.warns(UserWarning, match="are the same weights"),
        pytest.raises(CheckpointError, match=r"adapter was trained with other experts/cars"),
    ):
        load(place)


@pytest.mark.parametrize("name", ["timm"])
def test_what_is_for_others_is_not_loaded_here(folder: Callable[[str], Path], name: str) -> None:
    with pytest.raises(
        CheckpointError, match=rf"a model in the format '{name}', which wemoe-pl does not load"
    ):
        load(folder(name))


# --- the hub ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adapter", "bundle"])
def test_an_export_is_loaded_from_the_hub_and_then_without_it(
    folder: Callable[[str], Path],
    name: str,
    tmp_path: Path,
    online: Callable[[LoopbackHub], Path],
) -> None:
    place = folder(name)
    shutil.copytree(place, tmp_path / "hub/models/somebody/merged")
    with LoopbackHub(tmp_path / "hub") as hub:
        online(hub)
        there = load("somebody/merged")
        hub.requests.clear()
        load("somebody/merged")
        assert not hub.requests
    assert there(images(), "dtd").equal(load(place)(images(), "dtd"))


def test_a_model_of_the_hub_that_is_not_ours_is_refused(
    hub_root: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    with LoopbackHub(hub_root) as hub:
        online(hub)
        with pytest.raises(
            HubError,
            match=r"^openai/clip-vit-base-patch32 on the hub has no manifest of wemoe-pl "
            r"\(wemoe_pl\.json\): check that it is the right model and revision\.$",
        ):
            load("openai/clip-vit-base-patch32")
        with pytest.raises(HubError, match="neither a file or folder no/where here nor a model"):
            load("no/where")


@pytest.mark.parametrize("other", OTHER_DEFAULTS)
def test_a_model_is_loaded_and_answers_alike_whatever_torchs_defaults_are(
    other: Callable[[], AbstractContextManager[Any]], tiny_suite: Suite, exports: Path
) -> None:
    model = ExportedModel.assemble(tiny_suite, WEMoE(), {}, is_adapted=False)
    export(model, "adapter", exports, lambda line: None)
    image = random_image(32, 32)
    expected = model.classifier.predict(image)
    state = torch.get_rng_state()
    with other():
        loaded = load(exports)
        answers = loaded.predict(image), model.classifier.predict(image)
    assert answers == (expected, expected)
    assert {(w.dtype, w.device.type) for w in loaded.parameters()} == {(torch.float32, "cpu")}
    assert torch.equal(torch.get_rng_state(), state)


PREDICTS = "import sys, wemoe_pl; wemoe_pl.load(sys.argv[1]).predict(sys.argv[2])"
COMMANDS = "import sys; from wemoe_pl.cli import main; main.main(['predict', *sys.argv[1:]])"


@pytest.mark.slow
@pytest.mark.parametrize("program", [PREDICTS, COMMANDS], ids=["Python", "command"])
@pytest.mark.parametrize("name", ["bundle", "run", "bundle of CLIP"])
def test_what_a_model_does_not_need_is_not_imported(
    name: str, program: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """They take seconds to import; timm has wandb imported, of which nothing is loaded."""
    if name == "run":
        source = request.getfixturevalue("checkpoint")
    elif name == "bundle":
        source = request.getfixturevalue("folder")(name)
    else:
        request.getfixturevalue("finished")
        source = tmp_path / "clip bundle"
        export(open_model(tmp_path / "run"), "bundle", source, lambda line: None)
    random_image(40, 30).save(tmp_path / "noise.png")
    program += "; print('imported', *sys.modules)"
    command = [sys.executable, "-c", program, str(source), str(tmp_path / "noise.png")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    imported = set(said.rpartition("imported ")[2].split())
    assert {"torch", "timm", "wemoe_pl.model.classifier"} <= imported
    slow = (
        "lightning", "datasets", "transformers", "open_clip", "matplotlib", "torchmetrics",
        "scipy.ndimage", "wandb.sdk", "wemoe_pl.cli.verbs",
    )  # fmt: skip
    assert not imported.intersection(slow)

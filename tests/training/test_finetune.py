"""Fine-tuning and multi-task training: what is trained, what is frozen, what is left in files."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from helpers.hub_content import write_clip
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from wemoe_pl.checkpoints import Backbone, load_encoder
from wemoe_pl.checkpoints.heads import load_head
from wemoe_pl.checkpoints.zero_shot import TextTower
from wemoe_pl.data.datamodule import MultiTaskData, TaskData
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask
from wemoe_pl.errors import ConfigError, DataError
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.model.building import build_classifier
from wemoe_pl.system.provenance import versions
from wemoe_pl.training.finetune import ExpertFineTuning, MultiTaskTraining
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.supervised import SupervisedTraining

NewTrainer = Callable[..., L.Trainer]
TASKS = ["cars", "dtd", "mnist"]
RECIPE = {"trainer": {"max_steps": 2}}


def fine_tuned(suite: Suite, trainer: L.Trainer, **options: Any) -> ExpertFineTuning:
    module = ExpertFineTuning(suite, "cars", learning_rate=1e-3, **options)
    trainer.fit(module, TaskData(suite, "cars", batch_size=4))
    return module


def trained(suite: Suite, trainer: L.Trainer, **options: Any) -> MultiTaskTraining:
    module = MultiTaskTraining(suite, learning_rate=1e-3, **options)
    trainer.fit(module, MultiTaskData(suite, stream="train", batch_size=4))
    return module


def changes(module: MultiTaskModule, fit: Callable[[], None]) -> set[str]:
    """The names of what differs after `fit`."""
    module.configure_model()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fit()
    return {name for name, now in module.state_dict().items() if not now.equal(before[name])}


def prototypes(suite: Suite, task: str) -> Tensor:
    """The normalised mean normalised feature of every class, written out."""
    images = TaskData(suite, task).sets.load(ImageSet(task, "train"))
    encoder = suite.load_pretrained()
    features: dict[int, list[Tensor]] = {}
    for index in range(len(images)):
        image, label = images[index]
        with torch.no_grad():
            features.setdefault(label, []).append(F.normalize(encoder(image[None])[0], dim=0))
    means = [torch.stack(features[label]).mean(dim=0) for label in sorted(features)]
    return F.normalize(torch.stack(means), dim=1)


def test_fine_tuning_changes_the_encoder_and_not_the_head(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = ExpertFineTuning(tiny_suite, "cars", learning_rate=1e-3)
    data = TaskData(tiny_suite, "cars", batch_size=4)
    changed = changes(module, lambda: quiet_trainer(max_steps=2).fit(module, data))
    assert changed == {
        f"classifier.encoder.{name}" for name in module.classifier.encoder.state_dict()
    }


def test_fine_tuning_starts_from_the_pretrained_encoder(tiny_suite: Suite) -> None:
    module = ExpertFineTuning(tiny_suite, "cars")
    module.configure_model()
    expected = tiny_suite.load_pretrained().state_dict()
    torch.testing.assert_close(module.classifier.encoder.state_dict(), expected)


def test_fine_tuning_lowers_the_loss(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    first, last = quiet_trainer(max_steps=1), quiet_trainer(max_steps=100)
    for trainer in (first, last):
        fine_tuned(tiny_suite, trainer)
    assert last.logged_metrics["train/loss"] < first.logged_metrics["train/loss"] / 2


@pytest.mark.parametrize(("schedule", "last"), [("constant", 1e-3), ("cosine", 0.0)])
def test_the_learning_rate_follows_its_schedule(
    tiny_suite: Suite, quiet_trainer: NewTrainer, schedule: str, last: float
) -> None:
    trainer = quiet_trainer(max_steps=2)
    fine_tuned(tiny_suite, trainer, schedule=schedule)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(last, abs=1e-12)


def test_the_learning_rate_outside_the_mlps_can_be_lower(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    trainer = quiet_trainer(max_steps=1)
    module = fine_tuned(tiny_suite, trainer, outside_mlps=0.1)
    groups = trainer.optimizers[0].param_groups
    rates = {id(weight): group["lr"] for group in groups for weight in group["params"]}
    for name, weight in module.trained_parameters().items():
        assert rates[id(weight)] == pytest.approx(1e-3 if ".mlp." in name else 1e-4)


def test_an_exported_expert_can_be_loaded_again(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    module = fine_tuned(tiny_suite, quiet_trainer(max_steps=2))
    module.export(tmp_path, RECIPE, seed=7)
    encoder, head = load_encoder(str(tmp_path), tiny_suite.backbone), load_head(str(tmp_path))
    torch.testing.assert_close(encoder.state_dict(), module.classifier.encoder.state_dict())
    torch.testing.assert_close(head.weight, module.classifier.head("cars").weight)
    assert head.classes == tiny_suite.task("cars").classes


def test_exported_files_name_their_recipe_versions_and_seed(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    fine_tuned(tiny_suite, quiet_trainer(max_steps=1)).export(tmp_path, RECIPE, seed=7)
    for name in ("encoder.safetensors", "head.safetensors"):
        with safe_open(tmp_path / name, framework="pt") as file:
            metadata = file.metadata()
        assert json.loads(metadata["recipe"]) == RECIPE
        assert json.loads(metadata["versions"]) == versions()
        assert metadata["seed"] == "7"


def test_half_precision_halves_the_files(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    module = fine_tuned(tiny_suite, quiet_trainer(max_steps=1), save_as="float16")
    module.export(tmp_path, RECIPE, seed=0)
    with safe_open(tmp_path / "encoder.safetensors", framework="pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    loaded = load_encoder(str(tmp_path), tiny_suite.backbone).state_dict()
    expected = {k: t.half().float() for k, t in module.classifier.encoder.state_dict().items()}
    torch.testing.assert_close(loaded, expected, rtol=0, atol=0)


def test_a_task_without_head_gets_one_of_prototypes(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    headless = replace(tiny_suite, heads={})
    module = fine_tuned(headless, quiet_trainer(max_steps=1), head="prototypes")
    head = module.classifier.head("cars")
    torch.testing.assert_close(head.weight, prototypes(tiny_suite, "cars"), rtol=0, atol=1e-5)
    assert not head.weight.requires_grad


def test_a_task_without_head_is_named(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    with pytest.raises(ConfigError, match=r"no head for 'cars': add `heads: \{cars: FILE\}`"):
        fine_tuned(replace(tiny_suite, heads={}), quiet_trainer(max_steps=1))


def test_prototypes_need_a_data_module(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    module = ExpertFineTuning(tiny_suite, "cars", head="prototypes")
    loader = TaskData(tiny_suite, "cars").ordered_loader(ImageSet("cars", "train"))
    with pytest.raises(ConfigError, match=r"prototype head needs images: give .* a data module"):
        quiet_trainer(max_steps=1).fit(module, train_dataloaders=loader)


def test_an_expert_is_compared_with_the_pretrained_encoder(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    data = TaskData(tiny_suite, "cars")
    untrained = ExpertFineTuning(tiny_suite, "cars")
    quiet_trainer().test(untrained, data, verbose=False)
    results = untrained.test_results
    assert results["reference"] == {"pretrained": results["accuracy"]}


def test_an_expert_does_not_depend_on_the_experts_of_the_suite(tiny_suite: Suite) -> None:
    assert set(ExpertFineTuning(tiny_suite, "cars").frozen_sources) == {"pretrained", "heads/cars"}


def test_multi_task_training_keeps_given_heads(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = MultiTaskTraining(tiny_suite, learning_rate=1e-3)
    data = MultiTaskData(tiny_suite, stream="train", batch_size=4)
    changed = changes(module, lambda: quiet_trainer(max_steps=2).fit(module, data))
    assert changed == {
        f"classifier.encoder.{name}" for name in module.classifier.encoder.state_dict()
    }


def test_nothing_is_trained_on_the_images_that_are_scored(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module, data = MultiTaskTraining(tiny_suite), MultiTaskData(tiny_suite, stream="test")
    with pytest.raises(ConfigError, match=r"set data\.stream to train"):
        quiet_trainer(max_steps=1).fit(module, data)


def test_training_from_scratch_trains_the_heads_too(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = MultiTaskTraining(tiny_suite, learning_rate=1e-3, from_scratch=True)
    data = MultiTaskData(tiny_suite, stream="train", batch_size=4)
    changed = changes(module, lambda: quiet_trainer(max_steps=2).fit(module, data))
    assert changed == set(module.state_dict())


def test_training_from_scratch_needs_no_weights(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    bare = replace(tiny_suite, pretrained="nowhere", experts={}, heads={})
    module = trained(bare, quiet_trainer(max_steps=1), from_scratch=True)
    assert module.frozen_sources == {}


def test_multi_task_training_leaves_a_head_per_task(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    module = trained(tiny_suite, quiet_trainer(max_steps=1), from_scratch=True)
    module.export(tmp_path, RECIPE, seed=0)
    load_encoder(str(tmp_path), tiny_suite.backbone)
    for task in TASKS:
        head = load_head(str(tmp_path / "heads" / f"{task}.safetensors"))
        torch.testing.assert_close(head.weight, module.classifier.head(task).weight.detach())


def test_trained_heads_can_give_way_to_few_shot_ones(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = trained(tiny_suite, quiet_trainer(max_steps=1), head_shots=1)
    encoder = module.classifier.encoder.eval()
    images = MultiTaskData(tiny_suite).sets.load(ImageSet("mnist", "train"))
    for label, vector in enumerate(module.classifier.head("mnist").weight):
        first = images.images.labels.index(label)
        with torch.no_grad():
            expected = F.normalize(encoder(images[first][0][None])[0], dim=0)
        torch.testing.assert_close(vector, expected, rtol=0, atol=1e-5)


def test_the_learning_rate_warms_up_over_a_tenth_of_the_run(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    rates = []

    class Recorder(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    trained(tiny_suite, quiet_trainer(max_steps=20, callbacks=[Recorder()]))
    assert rates.index(max(rates)) == 1
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] < 1e-6


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_learning_rate_is_above_zero(tiny_suite: Suite, rate: float) -> None:
    modules: list[Callable[[], SupervisedTraining]] = [
        lambda: ExpertFineTuning(tiny_suite, "cars", learning_rate=rate),
        lambda: MultiTaskTraining(tiny_suite, learning_rate=rate),
    ]
    for module in modules:
        with pytest.raises(ConfigError, match=r"learning_rate is .*: give a number above 0"):
            module()


def test_an_unknown_task_is_named_with_the_nearest(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"no task 'mnits'\. Did you mean 'mnist'"):
        ExpertFineTuning(tiny_suite, "mnits")


# --- with a projection -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """A whole CLIP model, whose text tower makes the heads, and no expert yet."""
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder, seed=0, image_size=32)
    sizes = {"img_size": 32, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 4}
    text_sizes = {"embed_dim": 32, "width": 32, "heads": 2, "layers": 2}
    return Suite(
        name="clip",
        backbone=Backbone("vit_base_patch32_clip_quickgelu_224", {**sizes, "num_classes": 32}),
        pretrained=str(folder),
        text_tower=TextTower("ViT-B-32-quickgelu", options=text_sizes),
        tasks={task: MiniatureTask(task, train_size=10, test_size=10) for task in ("cars", "dtd")},
    )


def fitted_on_clip(suite: Suite, trainer: L.Trainer, kind: str) -> SupervisedTraining:
    """An expert or a generalist after some steps."""
    if kind == "expert":
        return fine_tuned(suite, trainer)
    return trained(suite, trainer, weight_decay=0.1)


BOTH_KINDS = pytest.mark.parametrize("kind", ["expert", "generalist"])


@BOTH_KINDS
def test_the_projection_stays_frozen_and_its_bias_zero(
    clip: Suite, quiet_trainer: NewTrainer, kind: str
) -> None:
    module = fitted_on_clip(clip, quiet_trainer(max_steps=2), kind)
    before = clip.load_pretrained().state_dict()
    after = module.classifier.encoder.state_dict()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {name for name in before if not name.startswith("head.")}
    assert {"head.weight", "head.bias"} == set(before) - changed
    assert not after["head.bias"].any()
    assert not any("encoder.head." in name for name in module.trained_parameters())


def test_training_from_scratch_trains_the_projection_too(
    clip: Suite, quiet_trainer: NewTrainer
) -> None:
    module = trained(clip, quiet_trainer(max_steps=1), from_scratch=True)
    assert "classifier.encoder.head.weight" in module.trained_parameters()


@BOTH_KINDS
def test_zero_shot_heads_are_frozen(clip: Suite, quiet_trainer: NewTrainer, kind: str) -> None:
    module = fitted_on_clip(clip, quiet_trainer(max_steps=2), kind)
    for task in module.classifier.tasks:
        head = module.classifier.head(task)
        assert not head.weight.requires_grad
        torch.testing.assert_close(head.weight, clip.load_head(task).weight, rtol=0, atol=0)


def test_an_expert_of_clip_can_be_merged(
    clip: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    fine_tuned(clip, quiet_trainer(max_steps=1)).export(tmp_path, RECIPE, seed=0)
    suite = replace(clip, experts={"cars": str(tmp_path)}, heads={"cars": str(tmp_path)})
    model = build_classifier(suite, TaskArithmetic(1.0))
    expert = load_encoder(str(tmp_path), clip.backbone)
    images = torch.randn(2, 3, 32, 32)
    expected = suite.load_head("cars")(expert(images))
    torch.testing.assert_close(model(images, "cars"), expected, rtol=1e-3, atol=1e-3)


# --- what a job reads ------------------------------------------------------------------------


def test_fine_tuning_reads_its_own_task_and_no_expert(clip: Suite, tiny_suite: Suite) -> None:
    frozen = ExpertFineTuning(tiny_suite, "cars").frozen_suite
    assert (list(frozen.tasks), list(frozen.heads), frozen.experts) == (["cars"], ["cars"], {})
    made = ExpertFineTuning(clip, "cars")
    assert made.frozen_suite.tasks_with_made_heads == ["cars"]
    assert list(made.frozen_sources) == ["pretrained", "heads/cars"]


def test_prototypes_need_neither_a_head_nor_a_text_tower(clip: Suite, tiny_suite: Suite) -> None:
    for suite in (clip, tiny_suite):
        module = ExpertFineTuning(suite, "cars", head="prototypes")
        assert (module.frozen_suite.heads, module.frozen_suite.text_tower) == ({}, None)
        assert list(module.frozen_sources) == ["pretrained"]


def test_multi_task_training_reads_all_tasks_and_no_expert(tiny_suite: Suite) -> None:
    frozen = MultiTaskTraining(tiny_suite).frozen_suite
    assert frozen == replace(tiny_suite, experts={})
    assert MultiTaskTraining(tiny_suite, from_scratch=True).frozen_suite is None


def test_images_without_labels_are_not_trained_on(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "x.png")
    task = ImageFolderTask(train=str(tmp_path), test=str(tmp_path), labelled=False)
    suite = replace(tiny_suite, tasks=tiny_suite.tasks | {"cars": task})
    with pytest.raises(DataError, match="Training images of 'cars' have no labels"):
        fine_tuned(suite, quiet_trainer(max_steps=1))


def test_heads_are_trained_on_several_devices_by_whole_steps_alone(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    parts = quiet_trainer(max_steps=1, devices=2, accumulate_grad_batches=3)
    whole = quiet_trainer(max_steps=1, devices=2)
    module = MultiTaskTraining(tiny_suite, from_scratch=True)
    module.trainer = whole
    module.on_fit_start()
    module.trainer = parts
    with pytest.raises(ConfigError, match=r"leave out data\.tasks_per_batch .* or set trainer"):
        module.on_fit_start()
    frozen = MultiTaskTraining(tiny_suite)
    frozen.trainer = parts
    frozen.on_fit_start()

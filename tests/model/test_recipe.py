"""Suites and merge methods as plain values: what a YAML or a checkpoint holds, and back."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.zero_shot import TextTower
from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import (
    PAPER_TASKS,
    TALL14_TASKS,
    TALL20_TASKS,
    ImageFolderTask,
    PaperTask,
    ParquetTask,
)
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.recipe import describe, read_suite, rebuild
from wemoe_pl.system.configs import SHIPPED_CONFIGS
from wemoe_pl.system.files import locate

SHIPPED_SUITES = sorted((SHIPPED_CONFIGS / "suites").glob("*.yaml"))

# Of every option, a value that is not its default.
MIXED = Suite(
    name="mixed, “quoted”: yes",
    backbone=Backbone("vit_base_patch32_clip_quickgelu_224.openai", {"num_classes": 512}),
    pretrained="openai/clip-vit-base-patch32@main",
    experts={"mnist": "experts/mnist", "pets": "owner/pets"},
    heads={"pets": "heads/pets.safetensors"},
    text_tower=TextTower("ViT-B-32-quickgelu", "clip.pt", {"embed_dim": 512, "layers": 12}),
    note="Of many kinds.",
    tasks={
        "mnist": PaperTask("mnist", source="owner/mnist@v1", check_names="off", corrupt="skip"),
        "pets": ParquetTask(
            "owner/pets",
            train=None,
            test="test-*",
            image="jpg",
            label=None,
            class_names=("1", "yes", "null"),
            label_names=("one", "oui", "nichts"),
            templates=("a photo of a {}.", "{}: a pet"),
            check_names="off",
            corrupt="skip",
        ),
        "flowers": ImageFolderTask(
            test="images/flowers", labelled=False, class_names=("rose", "tulip")
        ),
        "digits": MiniatureTask("mnist", train_size=20, test_size=10),
    },
)
PLAIN = Suite("plain", Backbone("vit_tiny_patch16_224"), "encoder.safetensors", tasks={})
METHODS: list[MergeMethod] = [
    Pretrained(),
    Individual(),
    TaskArithmetic(0.2),
    WEMoE(init_lambda=0.4, router_depth=1),
]


# --- files -----------------------------------------------------------------------------------


def test_suites_are_shipped() -> None:
    assert {"miniature", "miniature20", "clip_vitb32", "clip_vitb16", "clip_vitl14"} <= {
        path.stem for path in SHIPPED_SUITES
    }


@pytest.mark.parametrize("path", SHIPPED_SUITES, ids=lambda path: path.stem)
def test_a_shipped_suite_is_read_as_it_is_written(path: Path) -> None:
    suite, written = read_suite(str(path)), yaml.safe_load(path.read_text())
    assert suite.name == written["name"]
    assert suite.pretrained == written["pretrained"]
    assert suite.backbone == Backbone(**written["backbone"])
    assert suite.experts == written.get("experts", {})
    assert suite.heads == written.get("heads", {})
    assert list(suite.tasks) == list(written["tasks"])
    for name, task in suite.tasks.items():
        assert type(task).__name__ == written["tasks"][name]["class_path"].rpartition(".")[2]


@pytest.mark.parametrize(
    ("tasks", "names"), [("", PAPER_TASKS), ("_14", TALL14_TASKS), ("_20", TALL20_TASKS)]
)
@pytest.mark.parametrize("model", ["vitb32", "vitb16", "vitl14"])
def test_a_shipped_suite_of_clip_has_the_tasks_of_papers(
    model: str, tasks: str, names: tuple[str, ...]
) -> None:
    suite = read_suite(str(SHIPPED_CONFIGS / "suites" / f"clip_{model}{tasks}.yaml"))
    assert tuple(suite.tasks) == tuple(suite.experts) == names
    described = {name: replace(task, corrupt="error") for name, task in suite.tasks.items()}  # type: ignore[type-var]
    assert described == {name: PaperTask(name) for name in names}


@pytest.mark.parametrize(
    ("name", "names", "megabytes"),
    [("miniature", PAPER_TASKS, 10), ("miniature20", TALL20_TASKS, 20)],
)
def test_a_miniature_has_rendered_tasks_and_small_weights_in_half_precision(
    name: str, names: tuple[str, ...], megabytes: float
) -> None:
    suite = read_suite(name)
    assert tuple(suite.tasks) == tuple(suite.experts) == tuple(suite.heads) == names
    assert {type(task) for task in suite.tasks.values()} == {MiniatureTask}
    assert suite.note == "Rendered images and tiny models, not the paper's datasets."
    sources = (suite.pretrained, *suite.experts.values(), *suite.heads.values())
    files = [locate(str(source)) for source in sources]
    assert sum(file.stat().st_size for file in files) < megabytes * 1e6
    for file in files:
        with safe_open(file, "pt") as weights:
            tensors = [weights.get_tensor(key) for key in weights.keys()]  # noqa: SIM118
        assert {tensor.dtype for tensor in tensors} == {torch.float16}


@pytest.mark.parametrize("model", ["vitb32", "vitb16", "vitl14"])
def test_a_shipped_suite_of_clip_has_a_text_tower_that_fits(model: str) -> None:
    suite = read_suite(str(SHIPPED_CONFIGS / "suites" / f"clip_{model}.yaml"))
    assert suite.text_tower is not None
    assert suite.text_source == suite.pretrained
    assert suite.text_tower.build().text_projection.shape[1] == suite.backbone.feature_dim


@pytest.mark.parametrize("tasks", ["14", "20"])
@pytest.mark.parametrize("model", ["vitb32", "vitb16", "vitl14"])
def test_a_suite_of_more_tasks_has_the_models_of_the_suite_of_eight(model: str, tasks: str) -> None:
    folder = SHIPPED_CONFIGS / "suites"
    eight, more = (
        read_suite(str(folder / f"clip_{name}.yaml")) for name in (model, f"{model}_{tasks}")
    )
    assert more.restricted_to(PAPER_TASKS) == eight


@pytest.mark.parametrize("suite", [MIXED, PLAIN], ids=["mixed", "plain"])
def test_a_described_suite_in_a_file_is_read_as_it_was(suite: Suite, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(describe(suite)))
    assert read_suite(str(path)) == suite


def with_task(**task: Any) -> dict[str, Any]:
    return describe(PLAIN) | {"tasks": {"pets": task}}


BAD: dict[str, tuple[Any, str]] = {
    "a list": ([1, 2], "is not a suite"),
    "a text": ("a text", "is not a suite"),
    "nothing": (None, "is not a suite"),
    "no backbone": ({k: v for k, v in describe(PLAIN).items() if k != "backbone"}, "backbone"),
    "an unknown key": (describe(PLAIN) | {"expert": {"cars": "x"}}, "expert"),
    "a number for a mapping": (describe(PLAIN) | {"experts": 3}, "experts"),
    "an unknown class of task": (with_task(class_path="PapreTask"), "PapreTask"),
    "a class that is no task": (with_task(class_path="torch.nn.Identity"), "Identity"),
    "an unknown option of a task": (
        with_task(class_path="PaperTask", init_args={"name": "mnist", "nmae": 1}),
        "nmae",
    ),
    "an unknown task of the paper": (
        with_task(class_path="PaperTask", init_args={"name": "mnits"}),
        "Did you mean 'mnist'",
    ),
    "an expert of no task": (describe(PLAIN) | {"experts": {"cars": "x"}}, "no task 'cars'"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_file_that_is_no_suite_is_a_config_error(bad: str, tmp_path: Path) -> None:
    written, named = BAD[bad]
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(written))
    with pytest.raises(ConfigError, match=named):
        read_suite(str(path))


def test_a_file_that_is_no_yaml_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: [unclosed")
    with pytest.raises(ConfigError, match=r"bad\.yaml is not a suite"):
        read_suite(str(path))


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no suite '.*missing\.yaml'"):
        read_suite(str(tmp_path / "missing.yaml"))


# --- recipes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("suite", [MIXED, PLAIN], ids=["mixed", "plain"])
def test_a_recipe_is_plain_and_comes_back_as_it_was(suite: Suite, method: MergeMethod) -> None:
    recipe = {"suite": describe(suite), "merge": describe(method)}
    assert json.loads(json.dumps(recipe)) == recipe
    assert rebuild(recipe) == (suite, method)


@pytest.mark.parametrize("path", SHIPPED_SUITES, ids=lambda path: path.stem)
def test_a_shipped_suite_comes_back_as_it_was(path: Path) -> None:
    suite = read_suite(str(path))
    assert rebuild({"suite": describe(suite), "merge": describe(WEMoE())}) == (suite, WEMoE())


def test_what_can_be_chosen_by_class_is_described_with_its_class() -> None:
    described = describe(MIXED)
    assert described["tasks"]["mnist"] == {
        "class_path": "wemoe_pl.PaperTask",
        "init_args": asdict(PaperTask("mnist", "owner/mnist@v1", "off", "skip")),
    }
    assert described["backbone"] == {
        "model": "vit_base_patch32_clip_quickgelu_224.openai",
        "options": {"num_classes": 512},
    }
    assert described["text_tower"]["source"] == "clip.pt"
    assert describe(PLAIN)["text_tower"] is None


@pytest.mark.parametrize(
    "merge",
    [
        {"class_path": "torch.nn.Identity"},
        {"class_path": "wemoe_pl.merging.WEMoE", "init_args": {"init_lambda": "high"}},
        {"class_path": "wemoe_pl.merging.WEMoE", "init_args": {"init_lambda": 7}},
        "nonsense",
    ],
    ids=["foreign class", "no number", "out of range", "no class"],
)
def test_what_is_no_merge_method_is_a_config_error(merge: Any) -> None:
    with pytest.raises(ConfigError, match="not a recipe of a suite and a merge method"):
        rebuild({"suite": describe(PLAIN), "merge": merge})

"""Models to export: of a tiny CLIP, with adapted routers, and merged without."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.hub_content import write_clip, write_expert
from helpers.lora_adapters import train_by_peft
from torch import nn

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import CosineHead, LinearHead, save_head
from wemoe_pl.data.miniature import CLASSES, MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.recipe import read_suite

MakeModel = Callable[[MergeMethod], ExportedModel]
SIZES = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}
TASKS = ("cars", "mnist")
RESULTS = {
    "suite": "tiny CLIP",
    "note": "Rendered images.",
    "method": "WEMoE",
    "tasks": [*TASKS],
    "accuracy": {"cars": 0.5, "mnist": 0.875},
    "mean": 0.6875,
    "normalized_mean": 0.9,
    "reference": {"individual": {"cars": 0.6, "mnist": 0.9}},
    "seed": 3,
}


@pytest.fixture(scope="session")
def clip_suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """Two tasks, with experts that are vision towers alone, and heads of both kinds in files."""
    folder = tmp_path_factory.mktemp("clip_suite")
    shape: dict[str, Any] = {
        "width": 16,
        "heads": 2,
        "image_size": 32,
        "patch_size": 16,
        "embed_dim": 8,
    }
    clip = write_clip(folder / "clip", seed=0, **shape, text_width=8, text_layers=1)
    for seed, task in enumerate(TASKS, start=1):
        write_expert(folder / task, clip, seed, heads=2)
    cars, mnist = (torch.randn(len(CLASSES[task]), 8) for task in TASKS)
    save_head(folder / "head_cars.safetensors", CosineHead(cars, CLASSES["cars"], 10.0), {})
    linear = LinearHead(mnist, CLASSES["mnist"], torch.randn(len(mnist)))
    save_head(folder / "head_mnist.safetensors", linear, {})
    return Suite(
        name="tiny CLIP",
        backbone=Backbone("vit_base_patch32_clip_quickgelu_224", {**SIZES, "num_classes": 8}),
        pretrained=str(folder / "clip"),
        experts={task: str(folder / task) for task in TASKS},
        heads={task: str(folder / f"head_{task}.safetensors") for task in TASKS},
        tasks={task: MiniatureTask(task, train_size=10, test_size=10) for task in TASKS},
    )


@pytest.fixture(scope="session")
def make_model(clip_suite: Suite) -> MakeModel:
    """`make_model(method)`: merged, with routers that were moved from where they start."""

    def make(merge: MergeMethod) -> ExportedModel:
        torch.manual_seed(0)
        adapted = {
            name: nn.init.normal_(weight.detach(), mean=0.2, std=0.2)
            for name, weight in build_classifier(clip_suite, merge).named_parameters()
            if weight.requires_grad
        }
        return ExportedModel.assemble(clip_suite, merge, adapted, RESULTS)

    return make


@pytest.fixture(scope="session")
def merged_adapters(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """Task arithmetic of two adapters of the miniature's pretrained encoder."""
    folder, suite = tmp_path_factory.mktemp("adapters"), read_suite("miniature")
    for seed, task in enumerate(TASKS):
        options: dict[str, Any] = {"r": 2, "target_modules": ["qkv", "fc1"]}
        train_by_peft(suite.load_pretrained(), folder / task, seed, **options)
    experts = {task: str(folder / task) for task in TASKS}
    adapters = replace(suite.restricted_to(TASKS), experts=experts)
    return ExportedModel.assemble(adapters, TaskArithmetic(), {}, RESULTS)


@pytest.fixture
def static_merge(
    make_model: MakeModel, merged_adapters: ExportedModel
) -> Callable[[str], ExportedModel]:
    """`static_merge(format)`: a merge that the format can hold; PEFT's holds those of adapters."""
    return lambda name: merged_adapters if name == "peft" else make_model(TaskArithmetic())


@pytest.fixture
def silent() -> Callable[[str], None]:
    """What is told, and who does not listen."""
    return lambda line: None


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """Where exports go."""
    return tmp_path / "exports"

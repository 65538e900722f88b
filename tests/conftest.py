"""What every test shares: no network, one thread, and vision transformers small enough to loop."""

import logging
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports timm, which reads it once
os.environ["TRITON_INTERPRET"] = "1"  # before anything defines a kernel: it then runs on a CPU

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import datasets
import lightning as L
import numpy as np
import pytest
import timm
import torch
import yaml
from helpers.hub_content import fill_hub
from helpers.loopback_hub import TOKEN, LoopbackHub
from helpers.quick_files import save_blank
from huggingface_hub import constants
from hypothesis import Phase, settings
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from wemoe_pl.checkpoints import Backbone, save_tensors
from wemoe_pl.checkpoints.heads import CosineHead, save_head
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.miniature import CLASSES, MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import TALL20_TASKS, PaperTask
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.system.signals import REQUEST
from wemoe_pl.system.warn import warn_once
from wemoe_pl.training.adapt import TestTimeAdaptation

torch.set_num_threads(1)
SAVE_FIGURE = Figure.savefig
SLOW_FOLDERS = {"reliability", "scale"}  # in which commands are killed, or are several processes
# The same few cases every time; `make fuzz` looks for others.
QUICK: dict[str, Any] = {"database": None, "phases": (Phase.explicit, Phase.generate)}
settings.register_profile("tests", max_examples=30, derandomize=True, deadline=None, **QUICK)
settings.register_profile("fuzz", max_examples=1200, deadline=60_000, **QUICK)
settings.load_profile("tests")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what lies in such a folder, or needs a browser."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if item.path.parent.name in SLOW_FOLDERS or "browser" in fixtures:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="session")
def caches_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from the caches of whoever runs the tests, or written to them."""
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEMOE_PL_CACHE", str(folder / "wemoe_pl"))
        patch.setenv("HF_HUB_CACHE", str(folder / "hub"))  # of processes that tests start
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        patch.setenv("HF_DATASETS_CACHE", str(folder / "datasets"))
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(folder / "wandb"))
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
            patch.delenv(name, raising=False)
        patch.setenv("NETRC", str(folder / "netrc"))  # without a key
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("WANDB_SILENT", "true")
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "datasets"))
        yield


@pytest.fixture(autouse=True, scope="session")
def quick_files() -> Iterator[None]:
    """Figures are saved blank, and nobody waits for the disk: both take a second of each run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_blank)
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def as_a_process_begins() -> None:
    """No test before has warned, silenced Lightning or left a request to end, as failed fits do.

    Lightning keeps its messages from the root logger if that has no handlers on import.
    """
    warn_once.cache_clear()
    REQUEST.reset()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.propagate = True
        logger.setLevel(logging.INFO)


@pytest.fixture
def drawn_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are saved as they are after all."""
    monkeypatch.setattr(Figure, "savefig", SAVE_FIGURE)


@pytest.fixture(scope="session")
def hub_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `LoopbackHub(hub_root)` serves: models and datasets of papers, tiny; not to change."""
    root = tmp_path_factory.mktemp("hub_root")
    fill_hub(root, {name: PaperTask(name).classes for name in TALL20_TASKS})
    return root


@pytest.fixture
def online(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[LoopbackHub], Path]:
    """`online(hub)`: the client talks to this hub, with an empty cache, whose folder is returned.

    Without waits between tries, and without a token of whoever runs the tests.
    """

    def connect(hub: LoopbackHub) -> Path:
        cache = tmp_path_factory.mktemp("hub_cache")
        for name, value in {
            "ENDPOINT": hub.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint
            + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": True,
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        return cache

    return connect


@pytest.fixture
def writable_hub(
    tmp_path: Path, online: Callable[[LoopbackHub], Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[LoopbackHub]:
    """A hub without models, and somebody who is logged in."""
    with LoopbackHub(tmp_path / "hub") as hub:
        online(hub)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # which is another server's
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture(scope="session")
def tiny_vit() -> Callable[..., nn.Module]:
    """`tiny_vit(seed, name, **kwargs)`: a small timm encoder, every parameter drawn from seed."""

    def create(seed: int, name: str = "vit_tiny_patch16_224", **kwargs: object) -> nn.Module:
        tiny: dict[str, Any] = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2}
        options = {**tiny, "num_heads": 2, "num_classes": 0, **kwargs}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encoder: nn.Module = timm.create_model(name, **options).eval()
            for weight in encoder.parameters():  # timm starts biases at 0, which hides mistakes
                nn.init.normal_(weight, mean=weight.mean().item(), std=0.2)
        return encoder

    return create


@pytest.fixture(scope="session")
def pretrained(tiny_vit: Callable[..., nn.Module]) -> nn.Module:
    """A pretrained encoder, shared by all tests: none may change it."""
    return tiny_vit(seed=0)


@pytest.fixture(scope="session")
def experts(tiny_vit: Callable[..., nn.Module]) -> dict[str, nn.Module]:
    """Three fine-tuned copies of `pretrained`, shared by all tests: none may change them."""
    return {task: tiny_vit(seed) for seed, task in enumerate(["cars", "dtd", "mnist"], start=1)}


TINY_TASKS = ("cars", "dtd", "mnist")
TINY_OPTIONS = {"img_size": 28, "patch_size": 14, "embed_dim": 16, "depth": 2, "num_heads": 2}


def save_encoders(
    folder: Path, names: Iterable[str], tiny_vit: Callable[..., nn.Module]
) -> dict[str, str]:
    """A file of random weights for each name, by name."""
    sources = {name: folder / f"{name}.safetensors" for name in names}
    for seed, path in enumerate(sources.values()):
        save_tensors(path, tiny_vit(seed, **TINY_OPTIONS).state_dict(), {})
    return {name: str(path) for name, path in sources.items()}


@pytest.fixture(scope="session")
def tiny_suite(
    tmp_path_factory: pytest.TempPathFactory, tiny_vit: Callable[..., nn.Module]
) -> Suite:
    """Three rendered tasks of 20 images, with encoders and heads of random weights in files."""
    folder = tmp_path_factory.mktemp("tiny_suite")
    sources = save_encoders(folder, ("pretrained", *TINY_TASKS), tiny_vit)
    generator = torch.Generator().manual_seed(0)
    for task in TINY_TASKS:
        weight = torch.randn(len(CLASSES[task]), 16, generator=generator)
        head = CosineHead(weight, CLASSES[task], 10.0)
        save_head(folder / f"head_{task}.safetensors", head, {})
    return Suite(
        name="tiny",
        backbone=Backbone("vit_tiny_patch16_224", TINY_OPTIONS),
        pretrained=sources.pop("pretrained"),
        experts=sources,
        heads={task: str(folder / f"head_{task}.safetensors") for task in TINY_TASKS},
        tasks={t: MiniatureTask(t, train_size=20, test_size=20) for t in TINY_TASKS},
    )


@pytest.fixture(scope="session")
def lora_suite(tiny_suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """Two of the tasks, with adapters of rank 2 that PEFT has made instead of whole experts."""
    from helpers.lora_adapters import train_by_peft  # only a few files need PEFT

    folder, tasks = tmp_path_factory.mktemp("adapters"), ("cars", "dtd")
    for seed, task in enumerate(tasks):
        options: dict[str, Any] = {"r": 2, "target_modules": ["qkv", "fc1", "fc2"]}
        train_by_peft(tiny_suite.load_pretrained(), folder / task, seed, **options)
    experts = {task: str(folder / task) for task in tasks}
    return replace(tiny_suite.restricted_to(tasks), experts=experts)


@pytest.fixture(scope="session")
def tiny_suite_yaml(tiny_suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_suite` as a file that `--suite` takes."""
    described = asdict(tiny_suite)
    described["tasks"] = {
        name: {"class_path": "MiniatureTask", "init_args": asdict(task)}  # type: ignore[call-overload]
        for name, task in tiny_suite.tasks.items()
    }
    path = tmp_path_factory.mktemp("tiny_suite_yaml") / "tiny.yaml"
    path.write_text(yaml.safe_dump(described))
    return path


# How many test images the tasks have: none divides by 2 or 4 but one. A single one has no label.
UNEVEN_SIZES = {"one": 1, "two": 2, "three": 3, "five": 5, "seven": 7}


@pytest.fixture(scope="session")
def uneven_suite_yaml(
    tmp_path_factory: pytest.TempPathFactory, tiny_vit: Callable[..., nn.Module]
) -> Path:
    """A suite, as `--suite` takes it, whose tasks have few images, that do not split evenly."""
    folder = tmp_path_factory.mktemp("uneven_suite")
    sources = save_encoders(folder, ("pretrained", *UNEVEN_SIZES), tiny_vit)
    tasks: dict[str, Any] = {}
    for task, size in UNEVEN_SIZES.items():
        generator = torch.Generator().manual_seed(size)
        head = CosineHead(torch.randn(2, 16, generator=generator), ("odd", "even"), 10.0)
        save_head(folder / f"head_{task}.safetensors", head, {})
        for place in range(size):
            path = folder / task / ("even", "odd")[place % 2] / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (28, 28, 3)
            pixels = np.random.default_rng([size, place]).integers(256, size=shape, dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        images = {"train": str(folder / task), "test": str(folder / task)}
        options = images | {"class_names": ["odd", "even"], "labelled": size > 1}
        tasks[task] = {"class_path": "ImageFolderTask", "init_args": options}
    described = {
        "name": "uneven",
        "backbone": {"model": "vit_tiny_patch16_224", "options": TINY_OPTIONS},
        "pretrained": sources.pop("pretrained"),
        "experts": sources,
        "heads": {task: str(folder / f"head_{task}.safetensors") for task in tasks},
        "tasks": tasks,
    }
    path = folder / "uneven.yaml"
    path.write_text(yaml.safe_dump(described))
    return path


@pytest.fixture
def quiet_trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    """`quiet_trainer(max_steps=2)`: a trainer on the CPU that prints nothing and leaves nothing."""

    def create(**options: Any) -> L.Trainer:
        switches = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
        quiet: dict[str, Any] = dict.fromkeys(switches, False) | {"num_sanity_val_steps": 0}
        return L.Trainer(accelerator="cpu", default_root_dir=tmp_path, **{**quiet, **options})

    return create


@pytest.fixture
def checkpoint(tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path) -> Path:
    """A checkpoint of routers of depth 2, as one step of adaptation leaves it."""
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(TestTimeAdaptation(tiny_suite, WEMoE()), MultiTaskData(tiny_suite, batch_size=2))
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    return tmp_path / "one.ckpt"

"""Whatever a job needs of the hub can be fetched in advance; then it runs without a network."""

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.hub_content import write_expert
from helpers.hub_datasets import DATASETS
from helpers.loopback_hub import LoopbackHub

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import load_head
from wemoe_pl.checkpoints.zero_shot import TextTower
from wemoe_pl.cli import main
from wemoe_pl.cli.prepare import prepare, requests, write_heads
from wemoe_pl.data.datamodule import MultiTaskData, TaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import PaperTask, VisionTask
from wemoe_pl.errors import HubError, UnreachableError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.system.configs import find_config
from wemoe_pl.system.console import Console
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.finetune import ExpertFineTuning

PRETRAINED = "openai/clip-vit-base-patch32"
SIZES = {"embed_dim": 64, "depth": 2, "num_heads": 4, "img_size": 128, "num_classes": 32}
TEXT_SIZES = {"embed_dim": 32, "width": 32, "heads": 2, "layers": 2}


@pytest.fixture
def suite() -> Suite:
    """Two tasks of the paper, from the hub."""
    return Suite(
        name="two",
        backbone=Backbone("vit_base_patch32_clip_quickgelu_224.openai", SIZES),
        pretrained=PRETRAINED,
        experts={task: f"tanganke/clip-vit-base-patch32_{task}" for task in ("mnist", "svhn")},
        text_tower=TextTower("ViT-B-32-quickgelu", options=TEXT_SIZES),
        tasks={task: PaperTask(task) for task in ("mnist", "svhn")},
    )


@pytest.fixture
def hub(hub_root: Path, online: Callable[[LoopbackHub], Path]) -> Iterator[LoopbackHub]:
    """A hub that the client talks to, with an empty cache."""
    with LoopbackHub(hub_root) as served:
        online(served)
        yield served


def adaptation(suite: Suite) -> tuple[TestTimeAdaptation, MultiTaskData]:
    return TestTimeAdaptation(suite, WEMoE()), MultiTaskData(suite)


def prepared(suite: Suite) -> str:
    """What `prepare` prints for the main job on a suite."""
    console = Console(width=200)
    with console.capture() as captured:
        prepare(*adaptation(suite), console)
    return captured.get()


def downloads(hub: LoopbackHub) -> list[str]:
    return [
        request for request in hub.requests if request.startswith("GET") and "/resolve/" in request
    ]


def test_a_job_asks_for_its_models_and_the_splits_that_it_reads(suite: Suite) -> None:
    asked = {part: str(request.repo) for part, request in requests(*adaptation(suite)).items()}
    assert asked == {
        "pretrained": PRETRAINED,
        "experts/mnist": "tanganke/clip-vit-base-patch32_mnist",
        "experts/svhn": "tanganke/clip-vit-base-patch32_svhn",
        "test images/mnist": "ylecun/mnist",
        "test images/svhn": "ufldl-stanford/svhn",
    }


def test_fine_tuning_asks_for_its_own_task_and_no_experts(suite: Suite) -> None:
    asked = requests(ExpertFineTuning(suite, "svhn"), TaskData(suite, "svhn"))
    assert list(asked) == ["pretrained", "train images/svhn", "test images/svhn"]


def test_what_is_local_is_not_asked_for(tiny_suite: Suite) -> None:
    assert not requests(*adaptation(tiny_suite))


def test_it_fetches_only_what_the_job_reads(suite: Suite, hub: LoopbackHub) -> None:
    said = prepared(suite)
    assert "12 test images, 12 with labels" in said
    assert "the job now runs without a network" in said
    fetched = downloads(hub)
    assert len(fetched) == 5 + 3  # with a config beside each model
    assert sum(request.endswith("/config.json") for request in fetched) == 3
    assert not any("train" in request for request in fetched)
    assert any("cropped_digits/test-00000-of-00001.parquet" in request for request in fetched)


def test_it_can_be_repeated_and_fetches_nothing_twice(suite: Suite, hub: LoopbackHub) -> None:
    prepared(suite)
    before = len(downloads(hub))
    assert "in the cache" in prepared(suite)
    assert len(downloads(hub)) == before


def test_without_a_network_what_is_there_is_verified(
    suite: Suite, hub_root: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    with LoopbackHub(hub_root) as hub:
        cache = online(hub)
        prepared(suite)
    assert "runs without a network" in prepared(suite)
    blobs = (cache / "models--tanganke--clip-vit-base-patch32_svhn" / "blobs").iterdir()
    blob = max(blobs, key=lambda path: path.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(HubError, match="is damaged, and the hub cannot be reached"):
        prepared(suite)


def test_a_damaged_file_in_the_cache_is_replaced(suite: Suite, hub: LoopbackHub) -> None:
    prepared(suite)
    weights, _ = requests(*adaptation(suite))["experts/svhn"].cached() or []
    whole = weights.read_bytes()
    weights.resolve().write_bytes(bytes([*whole[:-1], whole[-1] ^ 1]))
    prepared(suite)
    assert weights.read_bytes() == whole


def test_a_disk_that_is_too_small_for_all_is_said_before_anything_is_fetched(
    suite: Suite, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 4_900_000))
    with pytest.raises(
        HubError, match=r"no space for this job: it needs 5\.\d+ MB .* 4\.9 MB left"
    ):
        prepared(suite)
    assert not downloads(hub)


def test_what_is_newer_on_the_hub_is_to_be_fetched(
    suite: Suite, hub_root: Path, tmp_path: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    root = tmp_path / "hub"
    shutil.copytree(hub_root, root)
    with LoopbackHub(root) as hub:
        online(hub)
        prepared(suite)
        expert = root / "models/tanganke/clip-vit-base-patch32_svhn"
        write_expert(expert, root / "models" / PRETRAINED, seed=99)
        hub.refresh()
        said = prepared(suite)
    rows = [[cell.strip() for cell in line.split("│")] for line in said.splitlines()]
    assert [row[1] for row in rows if row[-2:] == ["to fetch", ""]] == ["experts/svhn"]


def test_it_builds_the_heads_that_the_job_wants(suite: Suite, hub: LoopbackHub) -> None:
    prepared(suite)
    assert all(suite.zero_shot_head(task).path.is_file() for task in suite.tasks)


def test_an_expert_of_another_backbone_is_found_out_now(suite: Suite, hub: LoopbackHub) -> None:
    suite.experts["svhn"] = "tanganke/clip-vit-base-patch16_svhn"
    with pytest.raises(Exception, match=r"patches of 16 pixels and the backbone .* of 32 pixels"):
        prepared(suite)


def test_without_a_network_it_says_what_is_missing(
    suite: Suite, hub_root: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    with LoopbackHub(hub_root) as hub:
        online(hub)
    with pytest.raises(UnreachableError, match=rf"folder {PRETRAINED} here .* cache, and the hub"):
        prepared(suite)


def test_heads_are_written_in_the_form_that_a_suite_takes(
    suite: Suite, hub: LoopbackHub, tmp_path: Path
) -> None:
    [path] = write_heads(suite, ["mnist"], tmp_path)
    head = load_head(str(path))
    assert path == tmp_path / "mnist.safetensors"
    assert head.classes == PaperTask("mnist").classes


def run(
    command: str, *arguments: str, folder: Path, endpoint: str
) -> subprocess.CompletedProcess[str]:
    """The installed program, in a process and with caches of its own."""
    program = Path(sys.executable).with_name("wemoe-pl")
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_CACHE": str(folder / "hf" / "hub"),
        "HF_DATASETS_CACHE": str(folder / "hf" / "datasets"),
        "HF_HUB_OFFLINE": "0",
        "WEMOE_PL_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [program, command, *arguments],
        cwd=folder,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("tasks", ["", "_14", "_20"])
@pytest.mark.parametrize("model", ["vitb32", "vitb16", "vitl14"])
def test_the_hub_has_every_model_and_every_split_that_a_shipped_suite_names(
    model: str, tasks: str, hub: LoopbackHub
) -> None:
    suite = read_suite(find_config(f"suites/clip_{model}{tasks}"))
    announced = {
        part: [file.name for file in request.announced()]
        for part, request in requests(*adaptation(suite)).items()
    }
    assert len(announced) == 1 + 2 * len(suite.tasks)
    for task in suite.tasks:
        dataset = DATASETS[task]
        assert announced[f"test images/{task}"] == [dataset.file(dataset.scored)]


def test_a_suite_whose_split_the_hub_lacks_is_not_ready(
    suite: Suite, hub_root: Path, tmp_path: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    root = tmp_path / "hub"
    shutil.copytree(hub_root, root, ignore=shutil.ignore_patterns("tanganke"))
    validation = DATASETS["food101"].file("validation")
    (root / "datasets" / "ethz" / "food101" / validation).unlink()
    food: dict[str, VisionTask] = {"food101": PaperTask("food101")}
    with LoopbackHub(root) as hub:
        online(hub)
        lacking = r"ethz/food101 on the hub has no parquet files 'data/validation-\*'"
        with pytest.raises(HubError, match=lacking):
            prepared(replace(suite, experts={}, tasks=food))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "tasks", "batches"), [("clip_vitb32", 8, 1), ("clip_vitb32_20", 20, 3)]
)
def test_the_program_prepares_with_a_network_and_adapts_without(
    suite: str, tasks: int, batches: int, hub_root: Path, tmp_path: Path
) -> None:
    job = [
        "--config", "adapt_vitb32.yaml", "--suite", suite,
        "--trainer.accumulate_grad_batches", str(batches),
        "--suite.backbone.options", json.dumps(SIZES),
        "--suite.text_tower.options", json.dumps(TEXT_SIZES),
        "--data.num_workers", "0", "--trainer.accelerator", "cpu",
    ]  # fmt: skip
    with LoopbackHub(hub_root) as hub:
        ready = run("prepare", *job, folder=tmp_path, endpoint=hub.endpoint)
    assert ready.returncode == 0, ready.stderr
    assert ready.stdout.splitlines()[-1].endswith("the job now runs without a network.")
    steps = ["--trainer.max_steps", "2", "--out", "run"]
    adapted = run("fit", *job, *steps, folder=tmp_path, endpoint=hub.endpoint)
    assert adapted.returncode == 0, adapted.stderr
    results: dict[str, Any] = json.loads((tmp_path / "run" / "results.json").read_text())
    assert list(results["accuracy"]) == list(results["reference"]["individual"])
    assert len(results["tasks"]) == len(results["experts"]) == tasks


def test_a_job_without_a_network_names_the_command_that_fetches(
    hub_root: Path,
    online: Callable[[LoopbackHub], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with LoopbackHub(hub_root) as hub:
        online(hub)
    status = main.main(["fit", "--config", "adapt_vitb32.yaml", "--out", str(tmp_path)])
    [sentence] = [line for line in capsys.readouterr().err.splitlines() if "wemoe-pl:" in line]
    assert status == 1
    assert "folder tanganke/sun397 here nor a dataset of that name in the hub's cache" in sentence
    assert f"`wemoe-pl prepare --config adapt_vitb32.yaml --out {tmp_path}` fetches" in sentence

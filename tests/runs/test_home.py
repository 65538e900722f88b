"""The folder in which a run was begun, and the paths that count from there."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.home import home_of, seen_from


def write_config(folder: Path, out: str) -> RunFolder:
    folder.mkdir(parents=True)
    config: dict[str, Any] = {"model": {"class_path": "A"}, "suite": {}, "trainer": {}, "out": out}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return RunFolder(folder)


def test_a_run_was_begun_above_its_folder_wherever_that_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_config(tmp_path / "project" / "runs" / "mine", "runs/mine")
    assert home_of(folder) == tmp_path / "project"
    (tmp_path / "project").rename(tmp_path / "moved")
    moved = RunFolder(tmp_path / "moved" / "runs" / "mine")
    assert home_of(moved) == tmp_path / "moved"
    monkeypatch.chdir(tmp_path / "moved" / "runs")
    assert home_of(RunFolder(Path("mine"))) == tmp_path / "moved"


@pytest.mark.parametrize("out", ["/runs/mine", "elsewhere", "other/runs/mine", "."])
def test_a_folder_that_was_moved_by_itself_does_not_tell(tmp_path: Path, out: str) -> None:
    assert home_of(write_config(tmp_path / "runs" / "mine", out)) is None


def test_a_checkpoint_without_a_config_does_not_tell(tmp_path: Path) -> None:
    assert home_of(RunFolder(tmp_path)) is None


def test_paths_lead_to_what_is_there_and_all_else_stays(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "images" / "cat").mkdir(parents=True)
    for name in ("base", "cars"):
        (tmp_path / "models" / f"{name}.safetensors").touch()
    task: dict[str, Any] = {"class_path": "ImageFolderTask", "init_args": {
        "test": "images", "train": None, "class_names": ["images", "models"], "labelled": False,
    }}  # fmt: skip
    suite: dict[str, Any] = {
        "name": "models",
        "pretrained": "models/base.safetensors",
        "experts": {
            "cars": "models/cars.safetensors",
            "dtd": "lab/dtd",
            "svhn": "/models/svhn.bin",
        },
        "text_tower": {"source": "models/cars.safetensors", "options": {}},
        "heads": {"cars": "shipped:miniature/heads/cars.safetensors"},
        "tasks": {"cars": task, "dtd": {"class_path": "PaperTask"}},
    }
    seen = seen_from(tmp_path, {"suite": suite, "merge": "WEMoE"})
    assert seen["merge"] == "WEMoE"
    assert seen["suite"] == {
        "name": "models",
        "pretrained": str(tmp_path / "models" / "base.safetensors"),
        "experts": {**suite["experts"], "cars": str(tmp_path / "models" / "cars.safetensors")},
        "text_tower": {"source": str(tmp_path / "models" / "cars.safetensors"), "options": {}},
        "heads": suite["heads"],
        "tasks": {
            "cars": {**task, "init_args": {**task["init_args"], "test": str(tmp_path / "images")}},
            "dtd": {"class_path": "PaperTask"},
        },
    }


def test_where_one_stands_at_home_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    recipe = {"suite": {"pretrained": "base.safetensors"}}
    assert seen_from(tmp_path, recipe) == recipe

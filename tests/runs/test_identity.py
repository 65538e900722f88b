"""What a run belongs to, and in what it differs from another."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.identity import Identity, image_change, program_change
from wemoe_pl.system.own_packages import VARIABLE
from wemoe_pl.system.provenance import code_hash, program

SOURCES = {"pretrained": {"source": "a.safetensors", "sha256": "1" * 64}}
IMAGES = {"test images of 'cars'": "files 1"}
RECIPE: dict[str, Any] = {"seed_everything": 0, "out": "a"}


def identity(**values: Any) -> Identity:
    parts = {"command": "fit", "recipe": RECIPE, "sources": SOURCES, "images": IMAGES}
    return Identity(**{**parts, **values})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.config.write_text(yaml.safe_dump(RECIPE))
    return folder


MOVED = {"pretrained": {"source": "elsewhere/a.safetensors", "sha256": "1" * 64}}
OTHER = {"pretrained": {"source": "a.safetensors", "sha256": "2" * 64}}


@pytest.mark.parametrize(
    ("values", "change"),
    [
        ({}, ""),
        ({"recipe": {**RECIPE, "out": "b"}}, ""),
        ({"sources": MOVED}, ""),
        ({"recipe": {**RECIPE, "seed_everything": 5}}, "seed_everything was 0 and is now 5"),
        ({"sources": OTHER}, "other pretrained: it was a.safetensors (111111111111…)"),
        (
            {"images": {"test images of 'cars'": "files 2"}},
            "the test images of 'cars' have changed in",
        ),
        ({"checkpoint": "3" * 64}, "it scored another checkpoint"),
    ],
)
def test_in_what_a_run_differs_from_a_finished_one(
    values: dict[str, Any], change: str, folder: RunFolder
) -> None:
    results = {"sources": SOURCES, "run": identity().of_results}
    found = identity(**values).change_since_results(folder, results)
    assert found.startswith(change)
    assert bool(found) == bool(change)


def test_a_config_that_was_edited_is_not_the_one_of_the_results(folder: RunFolder) -> None:
    results = {"sources": SOURCES, "run": identity().of_results}
    edited = {**RECIPE, "seed_everything": 5}
    folder.config.write_text(yaml.safe_dump(edited))
    change = identity(recipe=edited).change_since_results(folder, results)
    assert change == "config.yaml is not the one that results.json was made with"


def test_in_what_a_run_differs_from_a_checkpoint() -> None:
    record = identity().of_checkpoint
    assert identity().change_since_checkpoint(record) == ""
    other = identity(recipe={**RECIPE, "seed_everything": 5})
    assert other.change_since_checkpoint(record) == "seed_everything was 0 and is now 5"
    assert identity().change_since_checkpoint({}) == ""  # of a version that wrote nothing


def test_images_that_were_not_read_before_are_no_others() -> None:
    assert image_change({}, IMAGES) == ""
    assert image_change(IMAGES, {}) == ""


def test_another_program_is_named_with_both_versions() -> None:
    now = program()
    assert program_change({"run": {"program": now}}) == ""
    assert program_change({}).startswith("the code of wemoe-pl (then an earlier version, now ")
    assert program_change({"run": {"program": now | {"torch": "1.0"}}}) == (
        f"torch (then 1.0, now {now['torch']})"
    )


def test_so_is_a_package_of_the_user_whose_code_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "own_method", tmp_path / "own_loss.py"]
    monkeypatch.setenv(VARIABLE, "\n".join(map(str, paths)))
    paths[0].mkdir()
    paths[1].touch()
    (paths[0] / "__init__.py").write_text("scaling = 1")
    then = {"run": {"program": program()}}
    code_hash.cache_clear()
    assert program_change(then) == ""
    (paths[0] / "__init__.py").write_text("scaling = 2")
    code_hash.cache_clear()
    assert program_change(then) == "the code of own_method"
    paths[1].write_text("x")
    monkeypatch.setenv(VARIABLE, str(paths[1]))
    code_hash.cache_clear()
    assert program_change(then) == "the code of own_loss"
    monkeypatch.setenv(VARIABLE, "")
    assert program_change(then) == ""

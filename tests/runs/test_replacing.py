"""`--fresh`: the new run takes the place of the old one at once, wherever it is killed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.runs import replacing
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.replacing import check_replaceable, recover, replace_by_next


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A folder with an old run, files of others, and a new run that has finished below it."""
    folder = RunFolder(tmp_path / "run")
    contents = {
        "results.json": "old", "routing.png": "old", "checkpoints/last.ckpt": "old",
        "test/results.json": "old", "notes.txt": "mine", "export/model": "mine",
        "photo.png": "mine", "images.parquet": "mine", "checkpoints/expert.safetensors": "mine",
        "images/mine.png": "mine", "images/cars_bus.png": "old",
        "images/.of-this-run": "cars_bus.png\n", ".next/results.json": "new",
        ".next/checkpoints/last.ckpt": "new",
    }  # fmt: skip
    for name, text in contents.items():
        path = folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def contents(folder: RunFolder) -> dict[str, str]:
    files = (path for path in folder.path.rglob("*") if path.is_file())
    return {path.relative_to(folder.path).as_posix(): path.read_text() for path in files}


REPLACED = {
    "results.json": "new", "checkpoints/last.ckpt": "new", "notes.txt": "mine",
    "export/model": "mine", "photo.png": "mine", "images.parquet": "mine",
    "checkpoints/expert.safetensors": "mine", "images/mine.png": "mine",
}  # fmt: skip


def no_exchange(one: Path, other: Path) -> bool:
    return False


@pytest.fixture(params=[True, False], ids=["at once", "in two renames"])
def exchanges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Can the system exchange two folders at once?"""
    if not request.param:
        monkeypatch.setattr(replacing, "exchange", no_exchange)
    return bool(request.param)


def test_the_new_run_takes_the_place_of_the_old_one_and_files_of_others_stay(
    exchanges: bool, folder: RunFolder
) -> None:
    replace_by_next(folder)
    assert contents(folder) == REPLACED
    assert [path.name for path in folder.path.parent.iterdir()] == ["run"]
    assert not recover(folder)


def test_a_link_to_the_folder_leads_to_the_new_run(
    exchanges: bool, folder: RunFolder, tmp_path: Path
) -> None:
    link = tmp_path / "elsewhere" / "latest"
    link.parent.mkdir()
    link.symlink_to(folder.path)
    replace_by_next(RunFolder(link))
    assert link.readlink() == folder.path
    assert contents(folder) == REPLACED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "run"]


def test_the_folder_in_which_the_command_is_run_is_replaced_as_any_other(
    exchanges: bool, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.path)
    replace_by_next(RunFolder(Path()))
    monkeypatch.chdir(folder.path.parent)
    assert contents(folder) == REPLACED
    assert [path.name for path in Path().iterdir()] == ["run"]


def test_images_that_lie_in_a_folder_called_test_are_not_taken_for_a_test(
    exchanges: bool, folder: RunFolder
) -> None:
    folder.test.results.unlink()
    image = folder.test.path / "cat" / "1.png"
    image.parent.mkdir()
    image.write_text("mine")
    replace_by_next(folder)
    assert contents(folder) == REPLACED | {"test/cat/1.png": "mine"}


class KilledError(BaseException):
    """As by SIGKILL: nothing is tidied up."""


def killed_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process be killed before one of the changes that it makes to the disk."""
    calls = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                raise KilledError
            return original(*args, **kwargs)

        return act

    changes = [(Path, name) for name in ("rename", "touch", "unlink")]
    for owner, name in [*changes, (replacing, "exchange"), (shutil, "rmtree")]:
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


@pytest.mark.parametrize("call", range(1, 10))
def test_a_replacement_that_is_killed_anywhere_is_ended_by_the_next_command(
    call: int, exchanges: bool, folder: RunFolder
) -> None:
    killed = False
    with pytest.MonkeyPatch.context() as patch:
        killed_at(call, patch)
        try:
            replace_by_next(folder)
        except KilledError:
            killed = True
    if folder.path.exists() and exchanges:
        left = contents(folder)
        both = {left["results.json"], left["checkpoints/last.ckpt"]}
        assert both in ({"old"}, {"new"})  # whoever looks sees one run
    recover(folder)
    if (folder.next.path / "results.json").exists():  # killed before anything was renamed
        assert killed
        assert contents(folder)["results.json"] == "old"
        replace_by_next(folder)
    assert contents(folder) == REPLACED
    assert [path.name for path in folder.path.parent.iterdir()] == ["run"]


def test_a_mount_point_cannot_be_replaced_which_is_said_before_the_work(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_replaceable(folder)
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    monkeypatch.setattr(Path, "is_mount", lambda path: True)
    with pytest.raises(ConfigError, match=r"--fresh cannot replace .*run, .* such as .*run/run\."):
        check_replaceable(folder)


def test_the_folder_in_which_one_is_cannot_be_replaced(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.next.path)
    with pytest.raises(
        ConfigError, match=r"--fresh cannot replace .*run, because the command was started in it"
    ):
        check_replaceable(RunFolder(Path("..")))
    replace_by_next(RunFolder(Path("..")))
    assert contents(folder) == REPLACED


def test_what_the_system_refuses_is_told(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(WeMoEError, match=r"Cannot write .*run: Permission denied"):
        replace_by_next(folder)

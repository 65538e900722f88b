"""A folder is replaced at once, by a whole one, and what killed processes leave is removed."""

import errno
import os
from pathlib import Path

import pytest

from wemoe_pl.errors import WeMoEError
from wemoe_pl.system import folders
from wemoe_pl.system.folders import atomic_folder, read_unchanged, remove_folders_left


@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_appears_when_the_block_ends(
    at_once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:  # as on systems that cannot exchange two folders
        monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    target = tmp_path / "new" / "folder"
    for text in ("first", "second"):
        with atomic_folder(target, "ours") as temporary:
            (temporary / "ours").write_text(text)
            assert not target.exists() or (target / "ours").read_text() != text
        assert (target / "ours").read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["folder"]


def test_a_folder_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with atomic_folder(target, "ours") as temporary:
        (temporary / "ours").write_text("first")
    with pytest.raises(WeMoEError, match="No space left"), atomic_folder(target, "ours"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(KeyboardInterrupt), atomic_folder(target, "ours"):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (target / "ours").read_text() == "first"


def test_what_killed_processes_were_writing_is_removed(tmp_path: Path) -> None:
    for name in (
        ".folder.12.wemoe-part",
        ".folder.12.wemoe-part.replaced",
        ".folder.2024",
        "folder",
    ):
        (tmp_path / name / "deep").mkdir(parents=True)
    remove_folders_left(tmp_path / "folder")
    remove_folders_left(tmp_path / "nowhere" / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".folder.2024", "folder"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    for target in (tmp_path, tmp_path / "notes"):
        with pytest.raises(WeMoEError, match="exists already"), atomic_folder(target, "ours"):
            pass
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_folder_that_was_moved_away_by_a_killed_process_is_put_back(tmp_path: Path) -> None:
    for name, text in {".out.7.wemoe-part": "half", ".out.7.wemoe-part.replaced": "old"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "ours").write_text(text)
    remove_folders_left(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "ours").read_text() == "old"


class Reader:
    """Reads two files of a folder, which another process replaces between the two.

    Args:
        folder: the folder.
        times: how often it is replaced.
    """

    def __init__(self, folder: Path, times: int):
        self.folder = folder
        self.left = times
        self.write("first")

    def write(self, text: str) -> None:
        with atomic_folder(self.folder, "one") as temporary:
            for name in ("one", "two"):
                (temporary / name).write_text(f"{text} {self.left}")

    def __call__(self) -> str:
        one = (self.folder / "one").read_text()
        if self.left:
            self.left -= 1
            self.write("later")
        two = (self.folder / "two").read_text()
        if one != two:
            raise WeMoEError(f"{one} is not {two}.")
        return two


@pytest.mark.parametrize("times", [0, 1, 4])
def test_a_folder_that_is_replaced_meanwhile_is_read_as_one(tmp_path: Path, times: int) -> None:
    reader = Reader(tmp_path / "out", times)
    with pytest.raises(WeMoEError) if times else pytest.MonkeyPatch.context():
        reader()
    assert read_unchanged(tmp_path / "out", reader) == ("later 0" if times else "first 0")


def test_a_folder_that_is_damaged_and_stays_so_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    calls = []

    def read() -> str:
        calls.append(1)
        raise WeMoEError("It is damaged.")

    with pytest.raises(WeMoEError, match="It is damaged"):
        read_unchanged(tmp_path / "out", read)
    assert len(calls) == 1

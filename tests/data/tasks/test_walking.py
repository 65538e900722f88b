"""The files of a folder or a pattern are found one folder at a time, each once."""

import os
from pathlib import Path

import pytest

from wemoe_pl.data.tasks.walking import walk_files
from wemoe_pl.errors import DataError

TREE = (
    "b.png", "a.jpg", "notes.txt", ".hidden.png", "2024/c.png", "2024/deep/d.png",
    "2024/.trash/e.png", "2025/f.png", "2025/deep/g.png", "[x]/h.png", "Thumbs.db", "@eaDir/i.png",
)  # fmt: skip
OF_2024 = ["2024/c.png", "2024/deep/d.png"]
OF_2025 = ["2025/beside/h.png", "2025/deep/g.png", "2025/f.png", "2025/round.png"]
BELOW = [*OF_2024, *OF_2025, "[x]/h.png"]
SHOWN = [*BELOW, "a.jpg", "b.png", "notes.txt"]
DEEP = ["2024/deep/d.png", "2025/deep/g.png"]
HIDDEN = ["2024/.trash/e.png"]
FOUND = {
    "**": SHOWN,
    "**/**": SHOWN,
    "*": SHOWN,
    "*.png": ["b.png"],
    "**/*.png": [*BELOW, "b.png"],
    "20??/*.png": ["2024/c.png", "2025/f.png", "2025/round.png"],
    "20*": [*OF_2024, *OF_2025],
    "20*/**": [*OF_2024, *OF_2025],
    "20*/**/*.png": [*OF_2024, *OF_2025],
    "**/deep": DEEP,
    "**/deep/*": DEEP,
    "*/deep/d.png": ["2024/deep/d.png"],
    "2024/.trash/*.png": HIDDEN,
    "*/.trash/*.png": HIDDEN,
    "[[]x]/*": ["[x]/h.png"],
    "nothing*": [],
    "b.png/*": [],
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "2025" / "back").symlink_to(tmp_path)
    (tmp_path / "2025" / "beside").symlink_to(tmp_path / "[x]")
    (tmp_path / "2025" / "round.png").symlink_to(tmp_path / "2025" / "round.png")
    return tmp_path


def walked(source: Path) -> list[Path]:
    return [folder / name for folder, names, *_ in walk_files(source) for name in names]


def names(paths: list[Path], tree: Path) -> list[str]:
    return [path.relative_to(tree).as_posix() for path in paths]


@pytest.mark.parametrize(("pattern", "found"), FOUND.items())
def test_a_pattern_finds_what_it_says_each_once(pattern: str, found: list[str], tree: Path) -> None:
    assert sorted(names(walked(tree / pattern), tree)) == found


def test_a_folder_stands_for_all_files_below_it_in_order(tree: Path) -> None:
    found = names(walked(tree), tree)
    assert sorted(found) == SHOWN
    assert found[:5] == ["a.jpg", "b.png", "notes.txt", "2024/c.png", "2024/deep/d.png"]


def test_a_folder_may_have_the_name_of_a_pattern(tree: Path) -> None:
    assert walked(tree / "[x]") == [tree / "[x]" / "h.png"]


def test_the_time_of_change_is_that_of_the_folder(tree: Path) -> None:
    os.utime(tree / "2024", ns=(5, 7))
    times = {folder.name: changed for folder, _, _, changed in walk_files(tree)}
    assert times["2024"] == 7


def test_a_folder_that_cannot_be_listed_is_named(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=rf"^The folder {tree} cannot be listed: Permission denied"):
        walked(tree)


def test_links_that_lead_nowhere_are_named_as_such(tree: Path) -> None:
    os.mkfifo(tree / "2024" / "pipe.png")
    (tree / "2024" / "linked.png").symlink_to(tree / "a.jpg")
    broken = {folder.name: names for folder, _, names, _ in walk_files(tree)}
    assert broken["2024"] == {"pipe.png"}
    assert broken["2025"] == {"round.png"}

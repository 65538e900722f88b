"""What is an image among files: by suffix, behind links, and not what systems leave there."""

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from wemoe_pl.data.tasks import list_images
from wemoe_pl.data.tasks.listing import files_below, files_of
from wemoe_pl.data.tasks.walking import is_hidden
from wemoe_pl.errors import DataError

IMAGES = {".png"}


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Nothing is said where nothing is passed over."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(paths: Iterable[Path], folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in paths]


# --- suffixes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffixes",
    ["jpg jpeg jpe jfif mpo", "png bmp dib gif webp jp2", "tif tiff", "ppm pgm pbm pnm", "JPG Tif"],
)
def test_what_photographs_end_in_is_an_image(suffixes: str, tmp_path: Path) -> None:
    there = [f"a.b.{suffix}" for suffix in suffixes.split()]
    touch(tmp_path, *there)
    assert names(list_images(tmp_path), tmp_path) == sorted(there)


def test_what_is_passed_over_is_counted_and_named_once(tmp_path: Path) -> None:
    others = ["labels.csv", "noext", "x.heic", "y.txt", "z/1.svg", "z.pdf"]
    touch(tmp_path, "1.png", "z/2.JPG", ".hidden", "Thumbs.db", *others)
    with pytest.warns(UserWarning, match="passed over") as said:
        assert names(list_images(tmp_path), tmp_path) == ["1.png", "z/2.JPG"]
    [warning] = said
    named = ", ".join(str(tmp_path / name) for name in others[:5])
    assert str(warning.message) == (
        "6 of 8 files are passed over, since they lack the suffix of an image or are broken "
        f"links: {named} and 1 more."
    )


def test_an_image_that_is_no_file_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "1.png")
    (tmp_path / "2.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "3.png").symlink_to(tmp_path / "3.png")
    os.mkfifo(tmp_path / "4.png")
    with pytest.warns(UserWarning, match=r"^3 of 4 files .*2\.png, .*3\.png, .*4\.png\.$"):
        assert names(list_images(tmp_path), tmp_path) == ["1.png"]


def test_names_that_are_no_utf_8_are_listed_and_named(tmp_path: Path) -> None:
    touch(tmp_path, os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"caf\xe9.txt"))
    with pytest.warns(UserWarning, match=r"^1 of 2 files .*caf\\xe9\.txt\.$"):
        assert [os.fsencode(path.name) for path in list_images(tmp_path)] == [b"caf\xe9.png"]


# --- what systems leave ----------------------------------------------------------------------

LEFT = [
    "__MACOSX/cat/._1.png",
    "__MACOSX/cat/1.png",
    "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.png",
    "cat/.AppleDouble/1.png",
    "cat/._1.png",
    ".thumbnails/1.png",
    "#recycle/1.png",
    "@Recycle/1.png",
    "$RECYCLE.BIN/1.png",
    "lost+found/1.png",
    "System Volume Information/1.png",
    "cat/Thumbs.db",
    "cat/desktop.ini",
    "cat/Desktop.ini",
    "cat/.DS_Store",
    "cat/Icon\r",
]


def test_what_systems_leave_beside_images_is_not_even_mentioned(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.png", *LEFT)
    assert names(list_images(tmp_path), tmp_path) == ["cat/1.png"]
    assert names(files_of(tmp_path / "**" / "*.png"), tmp_path) == ["cat/1.png"]
    assert all(is_hidden(Path(name)) for name in LEFT)


def test_a_folder_that_is_named_may_be_hidden_itself(tmp_path: Path) -> None:
    touch(tmp_path / ".cache", "1.png")
    assert names(list_images(tmp_path / ".cache"), tmp_path) == [".cache/1.png"]
    assert names(files_of(tmp_path / ".cache" / "*"), tmp_path) == [".cache/1.png"]


# --- links -----------------------------------------------------------------------------------


def test_linked_folders_and_files_are_followed_as_torchvision_does(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.png", "deep/2.png")
    photos = touch(tmp_path / "photos", "cat/3.png", "dog/4.png")
    (photos / "dog" / "more").symlink_to(tmp_path / "elsewhere")
    (photos / "fox").symlink_to(tmp_path / "elsewhere")
    (photos / "cat" / "5.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    theirs = [path for path, _ in ImageFolder(str(photos)).samples]
    assert sorted(map(str, list_images(photos))) == sorted(theirs)
    assert len(theirs) == 7
    assert sorted(files_of(photos / "**" / "*.png")) == list_images(photos)


def test_links_that_lead_back_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = touch(tmp_path / "photos", "1.png", "a/2.png", "b/3.png")
    (photos / "loop").symlink_to(photos)
    (photos / "again").symlink_to(".")
    (photos / "a" / "up").symlink_to("..")
    (photos / "a" / "b").symlink_to("../b")
    (photos / "b" / "a").symlink_to("../a")
    expected = ["1.png", "a/2.png", "a/b/3.png", "b/3.png", "b/a/2.png"]
    assert names(list_images(photos), photos) == expected
    for pattern in ("**", "**/*", "**/*.png", "*"):
        found = sorted(files_of(photos / pattern))
        assert names(found, photos) == expected, pattern
    monkeypatch.chdir(photos)
    assert sorted(map(str, list_images(Path()))) == expected


def test_a_folder_may_be_a_link_itself_and_have_another_to_its_parent(tmp_path: Path) -> None:
    touch(tmp_path, "real/1.png", "2.png")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = names(list_images(tmp_path / "link"), tmp_path)
    assert found == ["link/1.png", "link/up/2.png"]


def test_many_links_that_lead_back_cost_no_more_than_one(tmp_path: Path) -> None:
    touch(tmp_path, "1.png")
    for number in range(50):
        (tmp_path / f"loop{number}").symlink_to(tmp_path)
    assert names(list_images(tmp_path), tmp_path) == ["1.png"]
    assert names(files_of(tmp_path / "**" / "*.png"), tmp_path) == ["1.png"]


# --- patterns --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["1.png"]),
        ("?.png", ["1.png"]),
        ("a/*.png", ["a/2.png"]),
        ("*/*.png", ["a/2.png", "b [x]/4.png"]),
        ("**/*.png", ["1.png", "a/2.png", "a/c/3.png", "b [x]/4.png"]),
        ("a/**/*.png", ["a/2.png", "a/c/3.png"]),
        ("**/c/*.png", ["a/c/3.png"]),
        ("**/c", ["a/c/3.png"]),
        ("a/../*.png", ["a/../1.png"]),
        ("[a]/**", ["a/2.png", "a/c/3.png"]),
        ("b [[]x]/*", ["b [x]/4.png"]),
        ("*/nothing/*", []),
        ("*.gif", []),
    ],
)
def test_a_pattern_stands_for_what_it_says(pattern: str, found: list[str], tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "a/2.png", "a/c/3.png", "b [x]/4.png")
    assert names(sorted(files_of(tmp_path / pattern)), tmp_path) == found


# --- what is wrong ---------------------------------------------------------------------------


def test_a_folder_that_is_missing_empty_or_closed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere: check its path"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"has no images: check its path\. Images end in \.apng, "):
        list_images(touch(tmp_path, "notes.txt"))

    def closed(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(DataError, match=r"^The folder .* cannot be listed: Permission denied\.$"):
        list_images(tmp_path)


def test_files_of_other_kinds_can_be_listed(tmp_path: Path) -> None:
    touch(tmp_path, "b.parquet", "a/c.PARQUET", "1.png", "@eaDir/d.parquet")
    assert names(files_below(tmp_path, {".parquet"}), tmp_path) == ["a/c.PARQUET", "b.parquet"]

"""Images that are files: what tells them from others, here and on another machine."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from wemoe_pl.data.tasks import ImageFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cats and a dog."""
    for name in ("cat/0.png", "cat/1.png", "dog/0.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    return tmp_path / "pets"


def files(folder: Path) -> ImageFiles:
    paths = sorted(folder.rglob("*.*"))
    return ImageFiles(paths, [int(path.parent.name == "dog") for path in paths])


def test_a_copy_elsewhere_has_the_same_identity_and_another_fingerprint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(folder, tmp_path / "an" / "other", copy_function=shutil.copyfile)
    for path in copy.rglob("*.png"):
        os.utime(path, ns=(1, 2))
    assert files(copy).identity == files(folder).identity
    assert files(copy).fingerprint != files(folder).fingerprint
    monkeypatch.chdir(folder)
    assert files(Path()).identity == files(folder).identity


def rename(folder: Path) -> None:
    (folder / "cat" / "1.png").rename(folder / "cat" / "2.png")


def move(folder: Path) -> None:
    (folder / "cat" / "1.png").rename(folder / "dog" / "1.png")


def add(folder: Path) -> None:
    shutil.copy(folder / "cat" / "1.png", folder / "cat" / "2.png")


def remove(folder: Path) -> None:
    (folder / "cat" / "1.png").unlink()


def lengthen(folder: Path) -> None:
    with (folder / "cat" / "1.png").open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("change", [rename, move, add, remove, lengthen])
def test_other_files_have_another_identity(change: Callable[[Path], None], folder: Path) -> None:
    before = files(folder).identity
    change(folder)
    assert files(folder).identity != before


def test_the_identity_of_files_is_the_one_that_they_had_at_first(folder: Path) -> None:
    before = files(folder)
    identity = before.identity
    (folder / "cat" / "0.png").unlink()  # in the middle of a run, of which this is no other one
    assert before.identity == identity
    assert files(folder).identity != identity


def test_another_order_and_other_labels_are_another_identity(folder: Path) -> None:
    before = files(folder)
    turned = ImageFiles(before.paths[::-1], before.labels[::-1])
    relabelled = ImageFiles(before.paths, before.labels[::-1])
    assert len({each.identity for each in (before, turned, relabelled)}) == 3


def test_another_reader_makes_other_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which caches and answers of an earlier one are no part."""
    before = files(folder)
    fingerprint, identity = before.fingerprint, before.identity
    monkeypatch.setattr("wemoe_pl.data.tasks.image_files.READER", 1)
    assert before.fingerprint != fingerprint
    assert before.identity == identity


def test_no_images_have_an_identity_too() -> None:
    assert ImageFiles([], []).identity.startswith("files ")


def test_the_fingerprint_follows_the_files_and_their_order(folder: Path) -> None:
    paths = files(folder).paths
    labels = [0] * len(paths)
    before = ImageFiles(paths, labels).fingerprint
    assert ImageFiles(paths, [1] * len(paths)).fingerprint == before
    assert ImageFiles(paths[1:], labels).fingerprint != before
    assert ImageFiles(paths[::-1], labels).fingerprint != before
    os.utime(paths[0], ns=(1, 2))
    assert ImageFiles(paths, labels).fingerprint != before

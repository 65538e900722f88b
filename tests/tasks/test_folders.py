"""Folders of images: what is in them, in which order, and what is said of a bad one."""

import os
from pathlib import Path

import pytest
from PIL import Image

from wemoe_pl.errors import DataError
from wemoe_pl.tasks import UNLABELLED, ImageFolderTask, list_images


def write_image(path: Path, grey: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), grey).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cats and three dogs, every image of another grey."""
    greys = {"cat/0.png": 0, "cat/1.png": 10, "dog/0.png": 20, "dog/1.png": 30, "dog/2.png": 40}
    for name, grey in greys.items():
        write_image(tmp_path / "pets" / name, grey)
    return tmp_path / "pets"


# --- what is there ---------------------------------------------------------------------------


def test_images_are_rgb_in_the_order_of_their_paths_with_the_number_of_their_class(
    folder: Path,
) -> None:
    images = ImageFolderTask(test=str(folder)).images("test")
    items = [images[i] for i in range(len(images))]
    assert [image.getpixel((0, 0)) for image, _ in items] == [(g, g, g) for g in range(0, 50, 10)]
    assert [label for _, label in items] == images.labels == [0, 0, 1, 1, 1]


def test_classes_are_the_names_of_the_folders_unless_listed(folder: Path) -> None:
    assert ImageFolderTask(test=str(folder)).classes == ("cat", "dog")
    assert ImageFolderTask(train=str(folder)).classes == ("cat", "dog")
    assert ImageFolderTask(class_names=("dog", "cat")).classes == ("dog", "cat")


def test_listed_classes_give_the_labels_their_order(folder: Path) -> None:
    images = ImageFolderTask(train=str(folder), class_names=("dog", "cat")).images("train")
    assert [images[i][1] for i in range(len(images))] == [1, 1, 0, 0, 0]


def test_each_split_has_its_own_folder(folder: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_image(tmp_path / "train" / name / "0.png")
    task = ImageFolderTask(train=str(tmp_path / "train"), test=str(folder))
    assert (len(task.images("train")), len(task.images("test"))) == (2, 5)


# --- what is missing -------------------------------------------------------------------------


def test_a_class_folder_that_the_task_lacks_is_named_with_the_nearest_class(folder: Path) -> None:
    task = ImageFolderTask(test=str(folder), class_names=("cat", "doge"))
    with pytest.raises(DataError) as error:
        task.images("test")
    assert str(error.value) == (
        f"{folder} has 3 images of class 'dog', which the task lacks. "
        "Did you mean 'doge'? Valid names: cat, doge."
    )


@pytest.mark.parametrize("empty_folder", [False, True])
def test_a_class_without_images_is_named(folder: Path, empty_folder: bool) -> None:
    if empty_folder:
        (folder / "cow").mkdir()
    task = ImageFolderTask(test=str(folder), class_names=("cat", "cow", "dog"))
    with pytest.raises(DataError, match=r"pets has no images of class 'cow'\."):
        task.images("test")


def test_a_folder_without_images_is_named_with_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"has no images: check its path. Images end in \.apng"):
        ImageFolderTask(test=str(tmp_path)).images("test")


def test_a_missing_folder_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere: check `train`"):
        ImageFolderTask(train=str(tmp_path / "nowhere")).images("train")


def test_a_split_without_a_folder_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no train images: give the folder as `train`"):
        ImageFolderTask(test=str(folder)).images("train")


# --- without labels --------------------------------------------------------------------------


def test_images_without_labels_are_taken_wherever_they_lie(folder: Path) -> None:
    write_image(folder / "loose.png")
    write_image(folder / "deep" / "er" / "x.png")
    task = ImageFolderTask(test=str(folder), labelled=False)
    images = task.images("test")
    assert len(images) == 7
    assert list(images.labels) == [UNLABELLED] * 7
    assert {images[i][1] for i in range(7)} == {UNLABELLED}
    assert task.classes == ()


def test_images_without_labels_can_have_classes_for_a_head(folder: Path) -> None:
    task = ImageFolderTask(test=str(folder), class_names=("x", "y"), labelled=False)
    assert task.classes == ("x", "y")
    assert set(task.images("test").labels) == {UNLABELLED}


# --- spelled otherwise -----------------------------------------------------------------------


def test_a_folder_may_spell_a_class_otherwise(tmp_path: Path) -> None:
    write_image(tmp_path / "Polka_Dotted" / "0.png")
    write_image(tmp_path / "BANDED" / "0.png")
    task = ImageFolderTask(test=str(tmp_path), class_names=("polka-dotted", "banded"))
    assert list(task.images("test").labels) == [1, 0]  # by path: capitals first
    assert task.classes == ("polka-dotted", "banded")


def test_two_classes_that_a_folder_could_not_tell_apart_are_refused() -> None:
    with pytest.raises(DataError, match=r"class name 'Hot Dog' is given twice"):
        ImageFolderTask(class_names=("Hot Dog", "cat", "hot-dog"))


# --- what cannot be decoded ------------------------------------------------------------------


def test_a_corrupt_image_among_good_ones_is_named_and_counted(folder: Path) -> None:
    (folder / "dog" / "x.png").write_bytes(b"<html>404</html>")
    with pytest.raises(DataError) as error:
        ImageFolderTask(test=str(folder)).images("test")
    assert str(error.value) == (
        f"1 of 6 images cannot be decoded: {folder / 'dog' / 'x.png'}. "
        "Repair or remove them, or set `corrupt: skip`."
    )


@pytest.mark.parametrize("labelled", [False, True])
def test_a_corrupt_image_is_skipped_when_asked_and_named_all_the_same(
    folder: Path, labelled: bool
) -> None:
    (folder / "cat" / "x.jpg").touch()
    task = ImageFolderTask(test=str(folder), corrupt="skip", labelled=labelled)
    with pytest.warns(UserWarning, match=r"1 of 6 images .*cat/x\.jpg\. They are skipped"):
        images = task.images("test")
    expected = [0, 0, 1, 1, 1] if labelled else [UNLABELLED] * 5
    assert [images[i][1] for i in range(len(images))] == expected


@pytest.mark.filterwarnings("ignore:.*They are skipped")
def test_a_class_whose_images_are_all_skipped_is_named(folder: Path) -> None:
    for path in list_images(folder / "cat"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="has no images of class 'cat'"):
        ImageFolderTask(test=str(folder), corrupt="skip").images("test")


def test_an_image_that_was_repaired_is_read(folder: Path) -> None:
    broken = folder / "cat" / "x.png"
    broken.write_bytes(b"")
    task = ImageFolderTask(test=str(folder))
    with pytest.raises(DataError, match="1 of 6"):
        task.images("test")
    write_image(broken)
    assert len(task.images("test")) == 6


def test_an_image_that_broke_is_found(folder: Path) -> None:
    task = ImageFolderTask(test=str(folder))
    assert len(task.images("test")) == 5
    broken = folder / "dog" / "1.png"
    broken.write_bytes(b"x" * broken.stat().st_size)  # of the same size
    os.utime(broken, ns=(1, 2))
    with pytest.raises(DataError, match=r"1 of 5 .*dog/1\.png"):
        task.images("test")


def test_hidden_files_and_folders_are_no_images_and_no_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog", ".ipynb_checkpoints"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "1.png")
    (tmp_path / "cat" / "._1.png").write_text("what a Mac leaves")
    task = ImageFolderTask(test=str(tmp_path))
    assert task.classes == ("cat", "dog")
    assert len(task.images("test")) == 2

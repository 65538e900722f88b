"""Folders of images: what is in them, in which order, and what is said of a bad one."""

import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from timm.data.readers.reader_image_folder import find_images_and_targets
from torchvision.datasets import ImageFolder

from wemoe_pl.data.tasks import UNLABELLED, ImageFolderTask, list_images
from wemoe_pl.errors import DataError


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
def test_a_class_without_images_is_named_and_the_others_are_there(
    folder: Path, empty_folder: bool
) -> None:
    if empty_folder:
        (folder / "cow").mkdir()
    task = ImageFolderTask(test=str(folder), class_names=("cat", "cow", "dog"))
    with pytest.warns(UserWarning, match=r"pets has no images of 1 of its 3 classes: cow\."):
        images = task.images("test")
    assert images.labels == [0, 0, 2, 2, 2]


def test_an_empty_folder_is_a_class_without_images(folder: Path) -> None:
    (folder / "cow").mkdir()
    task = ImageFolderTask(test=str(folder))
    with pytest.warns(UserWarning, match=r"no images of 1 of its 3 classes: cow\."):
        images = task.images("test")
    theirs = ImageFolder(folder, allow_empty=True)
    assert task.classes == tuple(theirs.classes) == ("cat", "cow", "dog")
    assert images.labels == theirs.targets


def test_a_class_of_which_there_is_no_test_image_may_be_trained(folder: Path) -> None:
    write_image(folder.parent / "train" / "cow" / "0.png")
    train, test = str(folder.parent / "train"), str(folder)
    with pytest.raises(DataError, match=r"1 images of class 'cow', which the task lacks.*all clas"):
        ImageFolderTask(train, test).images("train")
    task = ImageFolderTask(train, test, class_names=("cat", "cow", "dog"))
    with pytest.warns(UserWarning, match="no images of 2 of its 3 classes: cat, dog"):
        assert task.images("train").labels == [1]


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


@pytest.mark.parametrize("name", [".net", "recycler", "lost+found"])
def test_a_class_whose_folder_would_be_passed_over_is_refused(name: str, tmp_path: Path) -> None:
    write_image(tmp_path / "cat" / "0.png")
    write_image(tmp_path / name / "0.png")
    task = ImageFolderTask(test=str(tmp_path), class_names=("cat", name))
    with pytest.raises(DataError, match=f"for the class '{re.escape(name)}', .* to '_") as caught:
        task.images("test")
    (tmp_path / name).rename(tmp_path / str(caught.value).split("'")[3])  # as it advises
    assert sorted(task.images("test").labels) == [0, 1]


def test_two_classes_of_one_name_are_refused() -> None:
    for names in (("tea", "café", "café"), ("tea", "café", unicodedata.normalize("NFD", "café"))):
        with pytest.raises(DataError, match=r"class name 'café' is given twice"):
            ImageFolderTask(class_names=names)


@pytest.mark.parametrize("name", ["", " ", "\u3000"])
def test_a_class_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"`class_names` has an empty name for class 1: give every"):
        ImageFolderTask(class_names=("tea", name))


def test_classes_that_are_nearly_of_one_name_have_folders_of_exactly_these(tmp_path: Path) -> None:
    for name in ("hot-dog", "cat", "Hot Dog"):
        write_image(tmp_path / name / "0.png")
    task = ImageFolderTask(test=str(tmp_path), class_names=("Hot Dog", "cat", "hot-dog"))
    assert task.images("test").labels == [0, 1, 2]
    write_image(tmp_path / "hotdog" / "0.png")
    with pytest.raises(DataError, match=r"1 images of class 'hotdog', which the task lacks\. Did"):
        task.images("test")


@pytest.mark.parametrize(
    "names",
    [
        ["+", "-", "="],
        ["C", "C#", "C++"],
        ["-1", "0", "1"],
        ["1.0", "1.5", "10"],
        ["का", "कि", "की"],
        ["กา", "กี"],
        ["A", "B", "a"],
        ["😀", "😢"],
        ["-", "_"],
        ["null", "yes", "~"],
        ["only"],
    ],
    ids=str,
)
@pytest.mark.parametrize("listed", [False, True])
def test_classes_and_labels_are_those_of_torchvision(
    names: list[str], listed: bool, tmp_path: Path
) -> None:
    for place, name in enumerate(names):
        for number in range(place + 1):
            write_image(tmp_path / name / f"{number}.png")
    task = ImageFolderTask(test=str(tmp_path), class_names=tuple(names) if listed else None)
    images, theirs = task.images("test"), ImageFolder(tmp_path)
    assert task.classes == tuple(theirs.classes)
    ours = {(images.name(i), images.labels[i]) for i in range(len(images))}
    assert ours == set(theirs.samples)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_folder_may_have_another_unicode_form_than_the_class(form: Any, tmp_path: Path) -> None:
    write_image(tmp_path / unicodedata.normalize(form, "café") / "0.png")
    write_image(tmp_path / "tea" / "0.png")
    assert ImageFolderTask(test=str(tmp_path)).classes == ("café", "tea")
    for given in ("NFC", "NFD"):
        names = ("tea", unicodedata.normalize(given, "café"))
        task = ImageFolderTask(test=str(tmp_path), class_names=names)
        assert task.images("test").labels == [1, 0]


def test_two_folders_of_one_class_are_named_in_one_sentence(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        write_image(tmp_path / unicodedata.normalize(form, "café") / "0.png")
    for names in (None, ("café",)):
        with pytest.raises(DataError, match="has two folders 'café', whose names differ only in"):
            ImageFolderTask(test=str(tmp_path), class_names=names).images("test")


def test_a_class_folder_whose_name_is_no_text_is_to_be_renamed(folder: Path) -> None:
    path = os.fsencode(folder) + b"/caf\xe9"
    os.mkdir(path)  # noqa: PTH102 (a Path is text)
    write_image(Path(os.fsdecode(path)) / "0.png")
    sentence = "has a class folder 'caf\udce9' whose name is not in UTF-8: rename"
    for names in (None, ("cat", "café", "dog")):
        with pytest.raises(DataError, match=sentence):
            ImageFolderTask(test=str(folder), class_names=names).images("test")


# --- nested folders --------------------------------------------------------------------------


def test_an_image_is_of_the_class_of_the_first_level_as_in_torchvision(folder: Path) -> None:
    write_image(folder / "cat" / "dog" / "x.png")
    write_image(folder / "cat" / "2023" / "may" / "x.png")
    images, theirs = ImageFolderTask(test=str(folder)).images("test"), ImageFolder(folder)
    labels = {images.name(i): images.labels[i] for i in range(len(images))}
    assert labels == dict(theirs.samples)
    assert labels[str(folder / "cat" / "dog" / "x.png")] == 0


def test_an_image_in_no_class_folder_is_named(folder: Path) -> None:
    write_image(folder / "loose.png")
    with pytest.raises(DataError, match=r"/loose\.png is in no class folder: move it to .*/CLASS"):
        ImageFolderTask(test=str(folder)).images("test")


@pytest.mark.parametrize("wrapped", [["pets/cat", "pets/dog"], ["train/cat", "Test/cat"]], ids=str)
def test_folders_of_splits_and_wrappings_are_not_taken_for_classes(
    wrapped: list[str], tmp_path: Path
) -> None:
    for name in wrapped:
        write_image(tmp_path / name / "0.png")
    with pytest.raises(DataError, match=r"but all images lie deeper, as in \w+/cat: give the fol"):
        ImageFolderTask(test=str(tmp_path)).images("test")
    first = tuple({name.partition("/")[0] for name in wrapped})
    named = ImageFolderTask(test=str(tmp_path), class_names=first)
    assert len(named.images("test")) == 2


def test_classes_may_be_called_as_splits_and_may_all_be_deep(tmp_path: Path) -> None:
    for name in ("train/0.png", "test/a/0.png", "bus/b/0.png"):
        write_image(tmp_path / "vehicles" / name)
    task = ImageFolderTask(test=str(tmp_path / "vehicles"))
    assert task.classes == ("bus", "test", "train")
    assert task.images("test").labels == [0, 1, 2]


# --- the order of classes --------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [["1", "2", "10"], ["apple", "Zebra"], ["cat", "dog"], ["b2", "B10", "a"], ["x", "Über", "z9"]],
    ids=str,
)
def test_the_orders_are_those_of_torchvision_and_timm(names: list[str], tmp_path: Path) -> None:
    for name in names:
        write_image(tmp_path / name / "0.png")
    task = ImageFolderTask(test=str(tmp_path))
    _, class_to_idx = find_images_and_targets(str(tmp_path))
    assert task.orders == {
        "torchvision": tuple(ImageFolder(tmp_path).classes),
        "timm": tuple(sorted(class_to_idx, key=lambda name: class_to_idx[name])),
    }
    assert task.classes == task.orders["torchvision"]
    assert ImageFolderTask(test=str(tmp_path), class_names=tuple(names)).orders == {}
    assert ImageFolderTask(test=str(tmp_path), labelled=False).orders == {}


@pytest.mark.parametrize("names", [["A", "a", "b"], ["1", "01"]], ids=str)
def test_an_order_that_timm_leaves_to_chance_is_another(names: list[str], tmp_path: Path) -> None:
    for name in names:
        write_image(tmp_path / name / "0.png")
    torchvision, timm = ImageFolderTask(test=str(tmp_path)).orders.values()
    assert timm != torchvision
    assert sorted(timm) == sorted(torchvision)


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
    with pytest.warns(UserWarning, match="has no images of 1 of its 2 classes: cat"):
        images = ImageFolderTask(test=str(folder), corrupt="skip").images("test")
    assert list(images.labels) == [1, 1, 1]


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

"""Folders of images: what is in them, in which order, and what is said of a bad one."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from wemoe_pl.errors import DataError
from wemoe_pl.tasks import ImageFolderTask, list_images, read_image, readable

Damage = Callable[[Path], None]


def write_image(path: Path, grey: int = 0, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), grey).convert(mode).save(path)
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


def test_files_of_other_kinds_are_ignored_and_capitals_are_not(folder: Path) -> None:
    (folder / "cat" / "notes.txt").touch()
    write_image(folder / "cat" / "2.JPG")
    assert [p.name for p in list_images(folder / "cat")] == ["0.png", "1.png", "2.JPG"]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK"])
def test_images_of_every_mode_become_rgb(mode: str, tmp_path: Path) -> None:
    image = read_image(write_image(tmp_path / "image.tif", grey=255, mode=mode))
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", (255, 255, 255))


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
    with pytest.raises(DataError, match=r"has no images: check its path. Images end in \.bmp"):
        ImageFolderTask(test=str(tmp_path)).images("test")


def test_a_missing_folder_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere: check `train`"):
        ImageFolderTask(train=str(tmp_path / "nowhere")).images("train")
    with pytest.raises(DataError, match=r"no folder .*nowhere: check its path"):
        list_images(tmp_path / "nowhere")


def test_a_split_without_a_folder_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no train images: give the folder as `train`"):
        ImageFolderTask(test=str(folder)).images("train")


# --- what cannot be decoded ------------------------------------------------------------------


def truncate(path: Path) -> None:
    """Keep the first half of an image that is large enough for its pixels to be in both."""
    file = BytesIO()
    Image.effect_noise((64, 64), sigma=50).save(file, path.suffix[1:].replace("jpg", "jpeg"))
    path.write_bytes(file.getvalue()[: file.tell() // 2])


def write_text(path: Path) -> None:
    path.write_text("<html>404</html>")


def empty(path: Path) -> None:
    path.write_bytes(b"")


CORRUPT = pytest.mark.parametrize(
    ("name", "damage"),
    [("x.jpg", truncate), ("x.png", truncate), ("x.png", write_text), ("x.jpg", empty)],
)


@CORRUPT
def test_a_corrupt_image_among_good_ones_is_named_and_counted(
    name: str, damage: Damage, folder: Path
) -> None:
    path = folder / "dog" / name
    damage(path)
    with pytest.raises(DataError) as error:
        ImageFolderTask(test=str(folder)).images("test")
    assert str(error.value) == (
        f"1 of 6 images cannot be decoded: {path}. Repair or remove them, or set `corrupt: skip`."
    )


@CORRUPT
def test_a_corrupt_image_is_skipped_when_asked_and_named_all_the_same(
    name: str, damage: Damage, folder: Path
) -> None:
    damage(folder / "cat" / name)
    task = ImageFolderTask(test=str(folder), corrupt="skip")
    with pytest.warns(UserWarning, match=rf"1 of 6 images .*cat/{name}\. They are skipped"):
        images = task.images("test")
    assert [images[i][1] for i in range(len(images))] == [0, 0, 1, 1, 1]


@CORRUPT
def test_reading_a_corrupt_image_names_it(name: str, damage: Damage, tmp_path: Path) -> None:
    damage(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name} is not a readable image: "):
        read_image(tmp_path / name)


def test_many_corrupt_images_are_counted_and_the_first_five_named(folder: Path) -> None:
    paths = [folder / "dog" / f"bad{i}.png" for i in range(7)]
    for path in paths:
        empty(path)
    named = ", ".join(str(path) for path in paths[:5])
    with pytest.raises(DataError, match=rf"^7 of 12 .*: {named} and 2 more\."):
        readable(list_images(folder), "error")


def test_skipping_is_no_way_out_when_no_image_is_left(folder: Path) -> None:
    for path in list_images(folder):
        empty(path)
    with pytest.raises(DataError, match="5 of 5 images cannot be decoded"):
        ImageFolderTask(test=str(folder), corrupt="skip").images("test")


@pytest.mark.filterwarnings("ignore:.*They are skipped")
def test_a_class_whose_images_are_all_skipped_is_named(folder: Path) -> None:
    for path in list_images(folder / "cat"):
        empty(path)
    with pytest.raises(DataError, match="has no images of class 'cat'"):
        ImageFolderTask(test=str(folder), corrupt="skip").images("test")

"""The paper's eight tasks: what is published of them, and every kind of place for their images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from helpers.hub_content import CORRUPTED, CORRUPTIONS, DATASETS, write_dataset
from helpers.loopback_hub import LoopbackHub
from PIL import Image

from wemoe_pl.data.miniature import CLASSES
from wemoe_pl.data.tasks import PAPER_TASKS, UNLABELLED, ImageFolderTask, PaperTask, Split
from wemoe_pl.errors import ConfigError, DataError
from wemoe_pl.system.hub_repo import HubRepo

COUNTS = {"sun397": 397, "cars": 196, "resisc45": 45, "eurosat": 10,
          "svhn": 10, "gtsrb": 43, "mnist": 10, "dtd": 47}  # fmt: skip
EIGHT = pytest.mark.parametrize("name", PAPER_TASKS)
SPLITS = pytest.mark.parametrize("split", ["train", "test"])


@pytest.fixture(autouse=True)
def arrow_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps a copy of what it reads: not among those of whoever runs the tests."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


# --- what is published -----------------------------------------------------------------------


def test_the_eight_have_the_names_of_the_miniatures_tasks() -> None:
    assert set(PAPER_TASKS) == set(CLASSES) == set(COUNTS)
    assert [PaperTask(name).name for name in PAPER_TASKS] == list(COUNTS)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"paper has no task 'mnits'\. Did you mean 'mnist'\?"):
        PaperTask("mnits")


@EIGHT
def test_class_names_are_as_many_as_published_and_all_different(name: str) -> None:
    classes = PaperTask(name).classes
    assert len(set(classes)) == len(classes) == COUNTS[name]
    assert all(each == each.strip() and "_" not in each for each in classes)


def test_the_prompts_of_all_classes_are_3727() -> None:
    tasks = [PaperTask(name) for name in PAPER_TASKS]
    assert sum(len(task.classes) * len(task.prompts) for task in tasks) == 3727


@EIGHT
def test_every_template_has_one_place_for_the_class(name: str) -> None:
    prompts = PaperTask(name).prompts
    assert len(set(prompts)) == len(prompts)
    assert all(prompt.count("{") == prompt.count("{}") == 1 for prompt in prompts)


@pytest.mark.parametrize(
    ("name", "some", "prompt"),
    [
        ("sun397", {0: "abbey", 1: "airplane cabin", 396: "youth hostel"}, "a photo of the {}."),
        ("cars", {0: "AM General Hummer SUV 2000", 195: "smart fortwo Convertible 2012"},
         "i love my {}!"),
        ("resisc45", {0: "airplane", 2: "baseball diamond", 44: "wetland"},
         "satellite imagery of {}."),
        ("eurosat", {0: "annual crop land", 2: "brushland or shrubland", 9: "lake or sea"},
         "a centered satellite photo of {}."),
        ("svhn", {0: "0", 9: "9"}, 'a photo of the number: "{}".'),
        ("gtsrb", {14: "stop", 6: "end / de-restriction of 80 kph speed limit"},
         'a zoomed in photo of a "{}" traffic sign.'),
        ("mnist", {0: "0", 9: "9"}, 'a photo of the number: "{}".'),
        ("dtd", {0: "banded", 30: "polka-dotted", 46: "zigzagged"}, "a photo of a {} texture."),
    ],
)  # fmt: skip
def test_labels_and_prompts_are_those_of_clip(name: str, some: dict[int, str], prompt: str) -> None:
    task = PaperTask(name)
    assert {label: task.classes[label] for label in some} == some
    assert prompt in task.prompts


# --- on the hub ------------------------------------------------------------------------------


@EIGHT
@SPLITS
def test_images_come_from_the_published_dataset(name: str, split: Split) -> None:
    repository, config, _ = DATASETS[name]
    folder = "data" if config == "default" else config
    request = PaperTask(name).hub_files(split)
    assert request is not None
    assert request.repo == HubRepo(repository, "main", "dataset")
    files = [f"{folder}/{s}-00000-of-00001.parquet" for s in ("train", "test", "extra")]
    assert request.choose(files) == [f"{folder}/{split}-00000-of-00001.parquet"]


def test_another_dataset_and_revision_can_be_given() -> None:
    request = PaperTask("dtd", source="somebody/textures@v2").hub_files("test")
    assert request is not None
    assert request.repo == HubRepo("somebody/textures", "v2", "dataset")


def test_only_the_test_images_are_fetched_for_a_test(
    hub_root: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    with LoopbackHub(hub_root) as hub:
        cache = online(hub)
        images = PaperTask("svhn").images("test")
        fetched = [each for each in hub.requests if "/resolve/" in each]
        assert len(images) == 12
        assert fetched
        assert all("cropped_digits/test-00000-of-00001.parquet" in each for each in fetched)
        hub.requests.clear()
        assert len(PaperTask("svhn").images("test")) == 12
        assert hub.requests == []
    assert [path.name for path in cache.rglob("*.parquet")] == ["test-00000-of-00001.parquet"]


@EIGHT
def test_every_dataset_is_read_with_its_published_classes(
    name: str, hub_root: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    with LoopbackHub(hub_root) as hub:
        online(hub)
        images = PaperTask(name).images("test")
    assert list(images.labels) == [i * 7 % COUNTS[name] for i in range(12)]
    assert images[0][0].mode == "RGB"
    assert images[0][0].size == ((28, 28) if name == "mnist" else (40, 32))


# --- published corrupted images ---------------------------------------------------------------


@pytest.mark.parametrize("name", CORRUPTED)
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_corrupted_test_images_are_a_split_of_the_published_dataset(
    name: str, corruption: str
) -> None:
    task = PaperTask(name, corruption=corruption)
    there = [f"data/{each}-00000-of-00001.parquet" for each in ("train", "test", *CORRUPTIONS)]
    for split, files in {"train": "train", "test": corruption}.items():
        request = task.hub_files(split)  # type: ignore[arg-type]
        assert request is not None
        assert request.repo == HubRepo(DATASETS[name][0], "main", "dataset")
        assert request.choose(there) == [f"data/{files}-00000-of-00001.parquet"]


@pytest.mark.parametrize("name", CORRUPTED)
def test_corrupted_images_and_nothing_else_are_fetched(
    name: str, hub_root: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    with LoopbackHub(hub_root) as hub:
        cache = online(hub)
        corrupted = PaperTask(name, corruption="motion_blur").images("test")
        names = [path.name for path in cache.rglob("*.parquet")]
        clean = PaperTask(name).images("test")
    assert names == ["motion_blur-00000-of-00001.parquet"]
    assert list(corrupted.labels) == list(clean.labels)
    assert all(corrupted[i][0] != clean[i][0] for i in range(12))
    assert corrupted.fingerprint != clean.fingerprint


@pytest.mark.parametrize("name", sorted({*PAPER_TASKS} - {*CORRUPTED}))
def test_a_task_without_corrupted_images_names_those_that_have_some(name: str) -> None:
    message = f"No corrupted images of '{name}' are published, only of {', '.join(CORRUPTED)}: "
    with pytest.raises(ConfigError, match=message):
        PaperTask(name, corruption="contrast")


def test_an_unknown_corruption_is_answered_with_the_nearest() -> None:
    message = r"No images of 'cars' with the corruption 'splatter' .* Did you mean 'spatter'\?"
    with pytest.raises(ConfigError, match=message):
        PaperTask("cars", corruption="splatter")


def test_corrupted_images_can_come_from_a_folder_of_the_same_files(tmp_path: Path) -> None:
    classes = list(PaperTask("eurosat").classes)
    for level, split in enumerate(["test", "spatter"]):
        image = Image.new("RGB", (8, 8), (level, level, level))
        write_dataset(tmp_path, "data", split, [image], [4], classes)
    images = PaperTask("eurosat", source=str(tmp_path), corruption="spatter").images("test")
    assert (images[0][0].getpixel((0, 0)), images[0][1]) == ((1, 1, 1), 4)
    with pytest.raises(DataError, match=r"no parquet files 'data/contrast-\*'"):
        PaperTask("eurosat", source=str(tmp_path), corruption="contrast").images("test")


def test_plain_images_have_no_corrupted_ones_beside_them(tmp_path: Path) -> None:
    write_folders(tmp_path, "eurosat")
    write_folders(tmp_path, "eurosat", "train")
    task = PaperTask("eurosat", source=str(tmp_path), corruption="spatter")
    assert len(task.images("train")) == 10
    for ask in (task.images, task.hub_files):
        with pytest.raises(ConfigError, match=r"plain images.*'data/spatter-\*'.*`source: made`"):
            ask("test")


# --- in a folder of parquet files ------------------------------------------------------------


def write_parquet(folder: Path, task: PaperTask, names: list[str] | None) -> PaperTask:
    prefix = Path(task.facts["test"]).parent.name
    images = [Image.new("RGB", (8, 8), (i, i, i)) for i in range(3)]
    write_dataset(folder, prefix, "test", images, [2, 0, 1], names)
    return PaperTask(task.name, source=str(folder))


@EIGHT
def test_a_folder_of_the_same_files_can_be_given(name: str, tmp_path: Path) -> None:
    task = write_parquet(tmp_path, PaperTask(name), list(PaperTask(name).classes))
    images = task.images("test")
    assert list(images.labels) == [2, 0, 1]
    assert [images[i][0].getpixel((0, 0)) for i in range(3)] == [(i, i, i) for i in range(3)]
    assert task.hub_files("test") is None


@pytest.mark.parametrize("name", ["eurosat", "gtsrb"])
@pytest.mark.parametrize("names", ["original", "numbers", None])
def test_the_names_in_the_files_may_be_the_original_ones_or_numbers(
    name: str, names: str | None, tmp_path: Path
) -> None:
    task = PaperTask(name)
    written = {
        "original": task.facts["label_names"] or list(task.classes),
        "numbers": [str(label) for label in range(COUNTS[name])],
        None: None,
    }[names]
    assert list(write_parquet(tmp_path, task, written).images("test").labels) == [2, 0, 1]


@EIGHT
def test_files_with_the_classes_in_another_order_are_refused(name: str, tmp_path: Path) -> None:
    first, second, *rest = PaperTask(name).classes
    task = write_parquet(tmp_path, PaperTask(name), [second, first, *rest])
    with pytest.raises(DataError, match=r"Class 0 of .* is '.*', but the task names it '"):
        task.images("test")


# --- in a folder of images -------------------------------------------------------------------


def write_folders(folder: Path, name: str, split: str = "test") -> PaperTask:
    """One image of every class, in folders that spell the class with underscores."""
    for each in PaperTask(name).classes:
        write_image(folder / split / each.replace(" ", "_").replace("/", "-") / "x.jpg")
    return PaperTask(name, source=str(folder))


@pytest.mark.parametrize("name", ["eurosat", "gtsrb", "resisc45", "dtd"])
@SPLITS
def test_a_folder_of_images_can_be_given(name: str, split: Split, tmp_path: Path) -> None:
    task = write_folders(tmp_path, name, split)
    images = task.images(split)
    assert sorted(images.labels) == list(range(COUNTS[name]))
    for index in range(len(images)):
        folder = Path(images.name(index)).parent.name
        assert folder.replace("_", " ") == task.classes[images[index][1]].replace("/", "-")
    assert task.hub_files(split) is None
    assert len(task.classes) == COUNTS[name]


def test_a_folder_with_a_class_that_is_not_published_is_refused(tmp_path: Path) -> None:
    task = write_folders(tmp_path, "eurosat")
    write_image(tmp_path / "test" / "lake" / "x.jpg")
    with pytest.raises(DataError, match="1 images of class 'lake', which the task lacks"):
        task.images("test")


def test_a_folder_that_lacks_a_class_is_read_and_the_class_is_named(tmp_path: Path) -> None:
    task = write_folders(tmp_path, "eurosat")
    (tmp_path / "test" / "river" / "x.jpg").unlink()
    with pytest.warns(UserWarning, match="no images of 1 of its 10 classes: river"):
        images = task.images("test")
    assert sorted(images.labels) == [label for label in range(10) if label != 8]


def test_images_that_lie_in_the_test_folder_itself_have_no_labels(tmp_path: Path) -> None:
    for i in range(3):
        write_image(tmp_path / "test" / f"{i}.jpg")
    task = PaperTask("gtsrb", source=str(tmp_path))
    images = task.images("test")
    assert list(images.labels) == [UNLABELLED] * 3
    assert len(task.classes) == 43  # those of its head


def test_training_images_can_have_labels_where_test_images_have_none(tmp_path: Path) -> None:
    task = write_folders(tmp_path, "eurosat", "train")
    write_image(tmp_path / "test" / "x.jpg")
    assert sorted(task.images("train").labels) == list(range(10))
    assert list(task.images("test").labels) == [UNLABELLED]


@pytest.mark.parametrize("inside", [(), ("train",)])
def test_a_folder_without_a_split_is_named(inside: tuple[str, ...], tmp_path: Path) -> None:
    for name in inside:
        write_image(tmp_path / name / "x" / "x.jpg")
    with pytest.raises(DataError, match=r"no folder .*/test: check `test`"):
        PaperTask("dtd", source=str(tmp_path)).images("test")


def test_corrupt_images_are_dealt_with_as_asked(tmp_path: Path) -> None:
    write_folders(tmp_path, "eurosat")
    (tmp_path / "test" / "river" / "y.jpg").touch()
    with pytest.raises(DataError, match=r"1 of 11 images cannot be decoded: .*river/y\.jpg"):
        PaperTask("eurosat", source=str(tmp_path)).images("test")
    with pytest.warns(UserWarning, match=r"1 of 11 .* They are skipped"):
        images = PaperTask("eurosat", source=str(tmp_path), corrupt="skip").images("test")
    assert len(images) == 10


@pytest.mark.parametrize("options", [{}, {"corrupt": "skip"}])
def test_what_is_asked_of_corrupt_images_reaches_either_kind_of_source(
    options: dict[str, Any], tmp_path: Path
) -> None:
    write_image(tmp_path / "test" / "x.jpg")
    expected = options.get("corrupt", "error")
    for source in (None, str(tmp_path)):
        data: Any = PaperTask("dtd", source=source, **options).data("test")
        assert data.corrupt == expected
        assert isinstance(data, ImageFolderTask) == (source is not None)

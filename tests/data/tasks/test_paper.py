"""The tasks of papers: what is published of them, and every kind of place for their images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
from helpers.hub_datasets import (
    CORRUPTED,
    CORRUPTIONS,
    DATASETS,
    GREY,
    as_table,
    write_dataset,
)
from helpers.loopback_hub import LoopbackHub
from PIL import Image

from wemoe_pl.data.miniature import CLASSES
from wemoe_pl.data.tasks import (
    PAPER_TASKS,
    TALL14_TASKS,
    TALL20_TASKS,
    UNLABELLED,
    ImageFolderTask,
    PaperTask,
    Split,
)
from wemoe_pl.errors import ConfigError, DataError, HubError
from wemoe_pl.system.hub_repo import HubRepo

# Of classes, and of templates.
SIZES = {"sun397": (397, 2), "cars": (196, 8), "resisc45": (45, 18), "eurosat": (10, 3),
         "svhn": (10, 1), "gtsrb": (43, 3), "mnist": (10, 1), "dtd": (47, 8),
         "flowers102": (102, 1), "pcam": (2, 1), "fer2013": (7, 6), "pets": (37, 1),
         "stl10": (10, 2), "cifar100": (100, 18), "cifar10": (10, 18), "food101": (101, 1),
         "fashion_mnist": (10, 2), "emnist_letters": (26, 1), "kmnist": (10, 1),
         "rendered_sst2": (2, 1)}  # fmt: skip
COUNTS = {name: classes for name, (classes, _) in SIZES.items()}
TWENTY = pytest.mark.parametrize("name", TALL20_TASKS)
SPLITS = pytest.mark.parametrize("split", ["train", "test"])


@pytest.fixture(autouse=True)
def arrow_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps a copy of what it reads: not among those of whoever runs the tests."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


# --- what is published -----------------------------------------------------------------------


def test_the_twenty_have_the_names_of_the_rendered_tasks() -> None:
    assert tuple(CLASSES) == TALL20_TASKS
    assert [PaperTask(name).name for name in TALL20_TASKS] == list(SIZES)


def test_fourteen_tasks_begin_with_the_eight_and_twenty_with_the_fourteen() -> None:
    assert TALL14_TASKS[:8] == PAPER_TASKS
    assert TALL20_TASKS[:14] == TALL14_TASKS
    assert len(set(TALL20_TASKS)) == 20


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"No task 'mnits' is published\. Did you mean 'mnist'\?"):
        PaperTask("mnits")


@TWENTY
def test_class_names_are_as_many_as_published_and_all_different(name: str) -> None:
    task = PaperTask(name)
    assert (len(task.classes), len(task.prompts)) == SIZES[name]
    assert len(set(task.classes)) == len(task.classes)
    assert all(each and each == each.strip() for each in task.classes)


def test_class_names_have_underscores_only_where_the_experts_were_fine_tuned_with_them() -> None:
    spelled = {n for n in TALL20_TASKS if any("_" in each for each in PaperTask(n).classes)}
    assert spelled == {"pets", "cifar100"}
    assert all("underscores" in PaperTask(name).facts["note"] for name in spelled)


@pytest.mark.parametrize(
    ("names", "count"), [(PAPER_TASKS, 3727), (TALL14_TASKS, 5730), (TALL20_TASKS, 6069)]
)
def test_the_prompts_of_all_classes_are_as_many_as_the_docs_say(
    names: tuple[str, ...], count: int
) -> None:
    tasks = [PaperTask(name) for name in names]
    assert sum(len(task.classes) * len(task.prompts) for task in tasks) == count


@pytest.mark.parametrize("name", TALL20_TASKS[8:])
def test_the_file_of_a_task_says_whose_classes_and_prompts_it_has(name: str) -> None:
    assert "fusion_bench/tasks/clip_classification/" in PaperTask(name).facts["source"]


@pytest.mark.parametrize(
    ("name", "doubt"),
    [
        ("flowers102", "TensorFlow Datasets and torchvision number these classes differently"),
        ("fer2013", "order cannot be compared"),
        ("pcam", "without names"),
        ("emnist_letters", "digits, which is another task"),
    ],
)
def test_the_file_of_a_task_says_what_is_doubtful_about_its_labels(name: str, doubt: str) -> None:
    assert doubt in PaperTask(name).facts["note"]


@TWENTY
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
        ("flowers102", {0: "pink primrose", 68: "windflower", 101: "blackberry lily"},
         "a photo of a {}, a type of flower."),
        ("pcam", {0: "lymph node", 1: "lymph node containing metastatic tumor tissue"},
         "this is a photo of {}"),
        ("fer2013", {0: "angry", 4: "neutral", 6: "surprised"}, "they look {}."),
        ("pets", {0: "abyssinian", 1: "american_bulldog", 36: "yorkshire_terrier"},
         "a photo of a {}, a type of pet."),
        ("stl10", {0: "airplane", 7: "monkey", 9: "truck"}, "a photo of the {}."),
        ("cifar100", {0: "apple", 26: "cra", 99: "worm"}, "a low contrast photo of the {}."),
        ("cifar10", {0: "airplane", 1: "automobile", 9: "truck"}, "a photo of the big {}."),
        ("food101", {0: "apple pie", 29: "cup cakes", 100: "waffles"},
         "a photo of {}, a type of food."),
        ("fashion_mnist", {0: "T - shirt / top", 9: "Ankle boot"}, "a photo of a {}."),
        ("emnist_letters", {0: "A", 25: "Z"}, 'a photo of the digit character: "{}".'),
        ("kmnist", {0: "お", 9: "を"}, "a photo of the character {}."),
        ("rendered_sst2", {0: "negative", 1: "positive"}, "a {} review of a movie."),
    ],
)  # fmt: skip
def test_labels_and_prompts_are_those_of_clip(name: str, some: dict[int, str], prompt: str) -> None:
    task = PaperTask(name)
    assert {label: task.classes[label] for label in some} == some
    assert prompt in task.prompts


# --- on the hub ------------------------------------------------------------------------------


@TWENTY
@SPLITS
def test_images_come_from_the_published_dataset(name: str, split: Split) -> None:
    dataset = DATASETS[name]
    request = PaperTask(name).hub_files(split)
    assert request is not None
    assert request.repo == HubRepo(dataset.repository, dataset.revision, "dataset")
    there = {s: dataset.file(s) for s in ("train", dataset.scored, "extra", "partial-test")}
    wanted = "train" if split == "train" else dataset.scored
    assert request.choose(list(there.values())) == [there[wanted]]


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


@TWENTY
def test_every_dataset_is_read_with_its_published_classes(
    name: str, hub_root: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    with LoopbackHub(hub_root) as hub:
        online(hub)
        images = PaperTask(name).images("test")
    assert list(images.labels) == [i * 11 % COUNTS[name] for i in range(12)]
    assert images[0][0].mode == "RGB"
    assert images[0][0].size == ((28, 28) if name in GREY else (40, 32))


def test_a_dataset_of_archives_is_read_where_the_hub_converts_it(
    hub_root: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    with LoopbackHub(hub_root) as hub:
        cache = online(hub)
        assert len(PaperTask("fer2013").images("test")) == 12
        assert PaperTask("fer2013").images("test").identity
        with pytest.raises(HubError, match=r"wds_fer2013 on the hub has no parquet files"):
            PaperTask("fer2013", source="clip-benchmark/wds_fer2013").images("test")
    assert [path.name for path in cache.rglob("*.parquet")] == ["0000.parquet"]


def test_another_copy_with_other_columns_is_refused_by_their_names(tmp_path: Path) -> None:
    write_dataset(tmp_path, "default/test", "x", [Image.new("L", (8, 8))], [0], None)
    with pytest.raises(DataError, match=r"no column 'jpg'"):
        PaperTask("fer2013", source=str(tmp_path)).images("test")


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
        assert request.repo == HubRepo(DATASETS[name].repository, "main", "dataset")
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


@pytest.mark.parametrize("name", sorted({*TALL20_TASKS} - {*CORRUPTED}))
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
    path = folder / task.facts["test"].replace("*/", "any/").replace("*", "0.parquet")
    path.parent.mkdir(parents=True)
    images = [Image.new("RGB", (8, 8), (i, i, i)) for i in range(3)]
    columns = (task.facts["image"], task.facts["label"])
    pq.write_table(as_table(images, labels_of_three(task), names, "PNG", columns), path)
    return PaperTask(task.name, source=str(folder))


def labels_of_three(task: PaperTask) -> list[int]:
    return [min(label, len(task.classes) - 1) for label in (2, 0, 1)]


@TWENTY
def test_a_folder_of_the_same_files_can_be_given(name: str, tmp_path: Path) -> None:
    task = write_parquet(tmp_path, PaperTask(name), list(PaperTask(name).classes))
    images = task.images("test")
    assert list(images.labels) == labels_of_three(task)
    assert [images[i][0].getpixel((0, 0)) for i in range(3)] == [(i, i, i) for i in range(3)]
    assert task.hub_files("test") is None


@pytest.mark.parametrize("name", ["eurosat", "gtsrb", "kmnist", "emnist_letters", "fashion_mnist"])
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


@TWENTY
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

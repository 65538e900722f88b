"""Test images that a run leaves: which they are, what they are called, and what stays beside."""

import re
from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import pytest
from PIL import Image

from wemoe_pl.callbacks.sample_images import (
    ChosenImage,
    SampleImages,
    free_name,
    places_by_class,
    spread_evenly,
    write_samples,
)
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.runs.folder import RunFolder, files_of_others
from wemoe_pl.training.adapt import TestTimeAdaptation


def read() -> Image.Image:
    return Image.new("RGB", (3, 2))


def images_in(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.png")}


def test_a_test_leaves_so_many_images_of_its_tasks(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    trainer = quiet_trainer(callbacks=[SampleImages(5)])
    module, data = TestTimeAdaptation(tiny_suite, TaskArithmetic()), MultiTaskData(tiny_suite)
    trainer.test(module, data, verbose=False)
    names = images_in(tmp_path / "images")
    assert len(names) == 5
    by_task = {task: [n for n in names if n.startswith(f"{task}_")] for task in tiny_suite.tasks}
    shares = [len(files) for files in by_task.values()]
    assert (sum(shares), max(shares) - min(shares)) == (5, 1)
    for task, files in by_task.items():
        images = tiny_suite.tasks[task].images("test")
        for file in files:
            pixels = np.asarray(Image.open(tmp_path / "images" / file))
            pairs = (images[i] for i in range(len(images)))
            same = [label for image, label in pairs if np.array_equal(np.asarray(image), pixels)]
            class_name = re.sub(r"(_2)?\.png$", "", file.removeprefix(f"{task}_"))
            classes = [tiny_suite.tasks[task].classes[label] for label in same]
            assert class_name in [name.replace(" ", "-") for name in classes]


def test_a_run_leaves_none_unasked(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    trainer = quiet_trainer(callbacks=[SampleImages()])
    module, data = TestTimeAdaptation(tiny_suite, TaskArithmetic()), MultiTaskData(tiny_suite)
    trainer.test(module, data, verbose=False)
    assert not (tmp_path / "images").exists()


def test_images_are_of_as_many_classes_as_can_be() -> None:
    labels = [0, 0, 0, 1, 2, 2, 3, 3]
    assert places_by_class(labels, 4) == [0, 3, 4, 6]
    assert places_by_class(labels, 2) == [3, 6]
    assert places_by_class(labels, 6)[4:] == [1, 7]
    assert sorted(places_by_class(labels, 100)) == list(range(8))
    assert places_by_class([], 3) == []


def test_more_than_there_are_is_all_of_them(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite)
    sizes = [len(data.sets.load(wanted)) for wanted in data.sets.scored.values()]
    chosen = list(spread_evenly(data.sets, 10_000))
    assert len(chosen) == sum(sizes)


def test_images_that_somebody_has_put_there_stay(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_samples(folder, [ChosenImage("cars", "bus", read), ChosenImage("dtd", None, read)])
    assert images_in(folder.images) == {"cars_bus.png", "dtd.png"}
    assert files_of_others(folder) == []
    for name in ("mine.png", "cars_van.png"):
        (folder.images / name).write_text("mine")
    write_samples(folder, [ChosenImage("cars", c, read) for c in ("bus", "bus", "van")])
    assert (folder.images / "cars_van.png").read_text() == "mine"
    assert {path.name for path in files_of_others(folder)} >= {"mine.png", "cars_van.png"}
    own = images_in(folder.images) - {path.name for path in files_of_others(folder)}
    assert own == {"cars_bus.png", "cars_bus_2.png", "cars_van_2.png"}


def test_a_process_that_is_stopped_leaves_no_image_that_counts_as_somebody_elses(
    tmp_path: Path,
) -> None:
    folder, classes = RunFolder(tmp_path), ("bus", "van", "bus")

    def stop() -> Image.Image:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_samples(folder, [ChosenImage("cars", "bus", read), ChosenImage("cars", "van", stop)])
    assert images_in(folder.images) == {"cars_bus.png"}
    assert files_of_others(folder) == []
    write_samples(folder, [ChosenImage("cars", name, read) for name in classes])
    assert images_in(folder.images) == {"cars_bus.png", "cars_van.png", "cars_bus_2.png"}


def test_names_of_the_run_that_is_replaced_are_not_taken_from_its_user(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.images.mkdir()
    (run.images / "cars_bus.png").write_text("mine")
    write_samples(run.next, [ChosenImage("cars", "bus", read)])
    assert images_in(run.next.images) == {"cars_bus_2.png"}


def test_no_class_name_leads_elsewhere() -> None:
    assert free_name("cars_../../x", set()) == "cars_..-..-x.png"
    assert free_name("cars_" + "w" * 300, set()) == f"cars_{'w' * 55}.png"


def test_a_count_below_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sample_images\.count"):
        SampleImages(-1)

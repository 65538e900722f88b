"""A rendered task is used as any other: by its classes and its labelled PIL images."""

import pickle
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wemoe_pl.data.miniature import CLASSES, SIZE, MiniatureTask, render_split
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.errors import ConfigError


@pytest.mark.parametrize("name", CLASSES)
def test_every_task_gives_labelled_rgb_images_of_its_classes(name: str) -> None:
    task: VisionTask = MiniatureTask(name, train_size=12, test_size=12)
    assert task.classes == CLASSES[name]
    images = task.images("test")
    assert len(images) == 12
    image, label = images[11]
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
    assert type(label) is int
    assert task.classes[label] == CLASSES[name][11 % len(CLASSES[name])]


def test_images_are_those_of_the_split_and_seed() -> None:
    task = MiniatureTask("gtsrb", train_size=11, test_size=10, seed=3)
    images = task.images("train")
    pixels, labels = render_split("gtsrb", "train", 11, seed=3)
    assert {type(label) for label in images.labels} == {int}
    np.testing.assert_array_equal(images.pixels, pixels)
    np.testing.assert_array_equal(images.labels, labels)
    for index in range(11):
        image, label = images[index]
        np.testing.assert_array_equal(image, pixels[index])
        assert label == labels[index]


def test_an_image_can_be_changed_without_changing_the_split() -> None:
    images = MiniatureTask("mnist", train_size=10, test_size=10).images("test")
    before = images.pixels.copy()
    images[0][0].paste((255, 0, 0), (0, 0, SIZE, SIZE))
    np.testing.assert_array_equal(images.pixels, before)


def test_images_are_named_by_all_that_they_are_drawn_from() -> None:
    task = MiniatureTask("gtsrb", train_size=11, test_size=10, seed=3)
    name = task.images("train").name(7)
    assert name.startswith("image 7 of miniature gtsrb train 11 3 ")


def test_splits_sizes_and_seeds_are_told_apart_by_fingerprint_and_identity() -> None:
    """What is kept of the images on disk is found by it again."""
    ours = MiniatureTask("dtd", train_size=10, test_size=10)
    others = [
        MiniatureTask("mnist", train_size=10, test_size=10).images("train"),
        MiniatureTask("dtd", train_size=11, test_size=10).images("train"),
        MiniatureTask("dtd", train_size=10, test_size=10, seed=1).images("train"),
        ours.images("test"),
        ours.images("train"),
    ]
    assert len({images.fingerprint for images in others}) == 5
    assert len({images.identity for images in others}) == 5
    assert ours.images("train").fingerprint == others[-1].fingerprint
    assert ours.images("train").identity == others[-1].identity


def test_the_identity_names_another_seed_and_stays_as_it_was_for_the_usual_one() -> None:
    """Runs of earlier versions are known by the hash."""
    usual, other = (MiniatureTask("mnist", 10, 10, seed).images("test") for seed in (0, 7))
    digest = "77bc310588679e9b8a0be56aae2c227e19ae98a568317d7e9b5d3e92a8170280"
    assert usual.identity == f"miniature {digest}"
    assert other.identity.endswith(", seed 7")


def test_another_version_may_draw_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    task = MiniatureTask("dtd", train_size=10, test_size=10)
    before = task.images("test").fingerprint
    monkeypatch.setattr("wemoe_pl.data.miniature.task.__version__", "99")
    assert task.images("test").fingerprint != before


def test_a_rendered_task_needs_nothing_of_the_hub() -> None:
    assert MiniatureTask("dtd").hub_files("test") is None


def test_tasks_are_values_that_reach_worker_processes() -> None:
    task = MiniatureTask("dtd", seed=5)
    assert pickle.loads(pickle.dumps(task)) == task == MiniatureTask("dtd", 4000, 400, 5)
    assert len({task, MiniatureTask("dtd", seed=5), MiniatureTask("dtd")}) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "mnits"},
            "There is no miniature task 'mnits'. Did you mean 'mnist'? "
            "Valid names: cars, cifar10, cifar100, dtd, emnist_letters, eurosat, "
            "fashion_mnist, fer2013, flowers102, food101, gtsrb, kmnist, mnist, pcam, pets, "
            "rendered_sst2, resisc45, stl10, sun397, svhn.",
        ),
        (
            {"name": "cars", "train_size": 9},
            "A train_size of 9 is too small for 'cars': its 10 classes need one image each.",
        ),
        (
            {"name": "cars", "test_size": -1},
            "A test_size of -1 is too small for 'cars': its 10 classes need one image each.",
        ),
        (
            {"name": "pcam", "seed": -1},
            "The seed of 'pcam' is -1: give the seed of its images as a whole number from 0.",
        ),
    ],
)
def test_what_cannot_be_rendered_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        MiniatureTask(**arguments)
    assert str(error.value) == message

"""Images in memory are a task like any other: with labels, names, and an identity."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.plain_images import random_image
from torch.utils.data import TensorDataset

from wemoe_pl.data.tasks import UNLABELLED, InMemoryTask
from wemoe_pl.errors import DataError
from wemoe_pl.model.recipe import describe

IMAGES = [random_image(8, 6, seed) for seed in range(4)]
NAMES = ("cat", "dog")


def labels_of(labels: Any = None, names: tuple[str, ...] | None = NAMES) -> list[int]:
    task = InMemoryTask(IMAGES, labels, class_names=names)
    return list(task.images("test").labels)


def test_images_of_all_sizes_are_given_in_their_order() -> None:
    mixed = [random_image(8, 6), random_image(20, 10), random_image(3, 3)]
    images = InMemoryTask(mixed).images("test")
    assert len(images) == 3
    for index, image in enumerate(mixed):
        found, label = images[index]
        assert np.array_equal(np.asarray(found), np.asarray(image))
        assert label == UNLABELLED


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 1, 0],
        (0.0, 1.0, 1.0, 0.0),
        torch.tensor([0, 1, 1, 0]),
        np.array([0, 1, 1, 0], np.uint8),
        [torch.tensor(0), np.int32(1), 1, False],
        ["Cat", "dog", "dog", "Cat"],
        np.array(["cat", "dog", "dog", "cat"]),
    ],
)
def test_labels_come_in_many_forms(labels: Any) -> None:
    assert labels_of(labels) == [0, 1, 1, 0]


def test_labels_may_be_missing_which_is_said() -> None:
    with pytest.warns(UserWarning, match="2 images without a label among its 4"):
        assert labels_of([0, None, 1, -1]) == [0, UNLABELLED, 1, UNLABELLED]


@pytest.mark.parametrize(
    ("labels", "names", "sentence"),
    [
        ([0, 1, 2, 0], NAMES, "Row 2 of the data set in memory has the label 2: expected a number"),
        ([0, 1, 0.5, 0], None, "label 0.5: expected a whole number"),
        ([0, 1], NAMES, "There are 2 labels for 4 images"),
        (["cat", "cow", "dog", "cat"], NAMES, "'cow', which is not a class of the task"),
        (
            ["cat", "dog", "dog", "cat"],
            None,
            "labels that are names, and nothing tells their order",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Any, names: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        labels_of(labels, names)


def test_labels_of_the_data_set_are_taken_unless_others_are_given() -> None:
    pairs = TensorDataset(torch.rand(4, 3, 5, 5), torch.tensor([1, 0, 1, 1]))
    assert InMemoryTask(pairs, class_names=NAMES).images("test").labels == [1, 0, 1, 1]
    assert InMemoryTask(pairs, [0, 0, 1, 0], class_names=NAMES).images("test").labels == [
        0,
        0,
        1,
        0,
    ]
    assert InMemoryTask(train=pairs, class_names=NAMES).images("train").labels == [1, 0, 1, 1]


def test_the_identity_is_of_pixels_order_and_labels() -> None:
    copies = [np.asarray(image).copy() for image in IMAGES]
    identity = InMemoryTask(IMAGES).images("test").identity
    assert InMemoryTask(copies).images("test").identity == identity
    assert InMemoryTask(IMAGES[::-1]).images("test").identity != identity
    assert InMemoryTask(IMAGES, [0, 1, 0, 1], class_names=NAMES).images("test").identity != identity
    copies[2][0, 0, 0] ^= 1
    changed = InMemoryTask(copies).images("test")
    assert changed.identity != identity
    assert changed.fingerprint != InMemoryTask(IMAGES).images("test").fingerprint


def test_an_image_that_changes_is_refused() -> None:
    """As of a random transform."""
    arrays = [np.asarray(image).copy() for image in IMAGES]
    images = InMemoryTask(arrays).images("test")
    arrays[3][:] = 0
    assert images[2][1] == UNLABELLED
    with pytest.raises(
        DataError, match=r"Image 3 in memory has changed .* leave random transforms"
    ):
        images[3]


def test_a_task_is_described_without_its_images_and_asks_for_them() -> None:
    task = InMemoryTask(IMAGES, [0, 1, 0, 1], class_names=NAMES)
    described = describe(task)
    assert described["class_path"] == "wemoe_pl.InMemoryTask"
    assert set(described["init_args"]) == {"class_names", "templates", "image", "label"}
    again = InMemoryTask(class_names=NAMES)
    assert (again, again.classes) == (task, NAMES)
    with pytest.raises(DataError, match=r"no test images: no file .* `InMemoryTask\(test=…\)`"):
        again.images("test")


def test_mistakes_are_found_when_the_task_is_made() -> None:
    with pytest.raises(DataError, match="`class_names` has an empty name for class 1"):
        InMemoryTask(IMAGES, class_names=("cat", ""))
    with pytest.raises(DataError, match="'cat' is given twice"):  # which names cannot tell
        InMemoryTask(IMAGES, ["cat"] * 4, class_names=("cat", "cat")).images("test")
    with pytest.raises(DataError, match="are a list of images, and not"):
        InMemoryTask("photos")
    with pytest.raises(DataError, match="has no images: give at least one"):
        InMemoryTask([]).images("test")
    with pytest.raises(DataError, match="Image 1 in memory has values from"):
        InMemoryTask([torch.rand(3, 4, 4), torch.rand(3, 4, 4) - 1]).images("test")

"""Classes without images and images without a class are said, once, by name and number."""

import warnings

import pytest

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.data.tasks.missing_images import tell_gaps


@pytest.mark.parametrize("labels", [[0, 1, 2, 1], []])
def test_nothing_is_said_of_whole_labels_or_of_no_images(labels: list[int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_gaps(labels, ("cat", "dog", "cow"), "pets")


def test_classes_without_images_are_named_and_counted() -> None:
    sentence = "^pets has no images of 2 of its 3 classes: cat, cow. Its scores cover only the oth"
    with pytest.warns(UserWarning, match=sentence):
        tell_gaps([1, 1], ("cat", "dog", "cow"), "pets")


def test_of_many_classes_without_images_a_few_are_named() -> None:
    with pytest.warns(
        UserWarning, match=r"no images of 9 of its 10 classes: 1, 2, 3, 4, 5 and 4 m"
    ):
        tell_gaps([0], [str(label) for label in range(10)], "digits")


def test_that_no_image_has_a_label_is_said() -> None:
    with pytest.warns(UserWarning, match="^pets has no label for any of its 3 images: a model can"):
        tell_gaps([UNLABELLED] * 3, ("cat", "dog"), "pets")


def test_images_without_a_label_among_labelled_ones_are_counted() -> None:
    with pytest.warns(UserWarning, match="^pets has 2 images without a label among its 4: a m"):
        tell_gaps([0, UNLABELLED, 1, UNLABELLED], ("cat", "dog"), "pets")


def test_a_single_class_is_said_to_be_always_right() -> None:
    with pytest.warns(
        UserWarning, match="^pets has only one class, 'cat', so every prediction is right: "
    ):
        tell_gaps([0, 0], ("cat",), "pets")

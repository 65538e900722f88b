"""What holds for the pictures of every task."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wemoe_pl.data.miniature import CLASSES, SIZE, contact_sheet, render, render_split
from wemoe_pl.data.tasks import PAPER_TASKS, TALL20_TASKS, Split

DOCS = Path(__file__).parents[3] / "docs"
every_task = pytest.mark.parametrize("task", CLASSES)
rendered = cache(render_split)  # tests share splits: none may change them


def mean_colours(task: str, split: Split) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    pixels, labels = rendered(task, split, 200)
    return pixels.mean((1, 2)), labels


def test_there_are_the_twenty_tasks_of_papers_in_their_order() -> None:
    """The place of a task is a part of the seed of its pictures."""
    assert tuple(CLASSES) == TALL20_TASKS


@every_task
def test_a_task_has_several_classes_of_different_names(task: str) -> None:
    fewest = 10 if task in PAPER_TASKS else 2
    assert fewest <= len(set(CLASSES[task])) == len(CLASSES[task]) <= 12


@every_task
def test_a_split_is_an_array_of_bytes_with_one_label_each(task: str) -> None:
    pixels, labels = rendered(task, "train", 200)
    assert pixels.shape == (200, SIZE, SIZE, 3)
    assert pixels.dtype == np.uint8
    assert labels.shape == (200,)
    assert labels.dtype == np.int64


@every_task
def test_labels_are_balanced_in_any_prefix(task: str) -> None:
    _, labels = rendered(task, "train", 200)
    for size in (20, 33, 200):
        counts = np.bincount(labels[:size], minlength=len(CLASSES[task]))
        assert len(counts) == len(CLASSES[task])
        assert counts.max() - counts.min() <= 1


@every_task
def test_rendering_again_gives_the_same_bytes_and_a_smaller_split_is_a_prefix(task: str) -> None:
    pixels, labels = rendered(task, "train", 200)
    for size in (25, 40):
        again, labels_again = render_split(task, "train", size)
        assert again.tobytes() == pixels[:size].tobytes()
        assert labels_again.tobytes() == labels[:size].tobytes()


@every_task
def test_train_test_and_another_seed_share_no_picture(task: str) -> None:
    splits: tuple[Split, ...] = ("train", "test")
    drawn = [render_split(task, split, 20, seed)[0] for split in splits for seed in (0, 1)]
    assert len({picture.tobytes() for pixels in drawn for picture in pixels}) == 80


@every_task
def test_pictures_of_one_class_differ_visibly(task: str) -> None:
    pixels, labels = rendered(task, "train", 200)
    for label in range(len(CLASSES[task])):
        same = pixels[labels == label].astype(float)
        assert np.abs(same[1:] - same[:-1]).mean((1, 2, 3)).min() > 5  # of 255


@every_task
def test_mean_colour_alone_does_not_tell_classes_apart(task: str) -> None:
    known, labels = mean_colours(task, "train")
    asked, answers = mean_colours(task, "test")
    centres = np.stack([known[labels == label].mean(0) for label in range(len(CLASSES[task]))])
    nearest = np.square(asked[:, None] - centres).sum(-1).argmin(1)
    assert (nearest == answers).mean() < 0.75  # eurosat, where colour does matter, has about 0.7


@every_task
def test_a_picture_follows_from_its_generator_alone(task: str) -> None:
    for label in range(len(CLASSES[task])):
        first, second = (render(task, label, np.random.default_rng(7)) for _ in range(2))
        np.testing.assert_array_equal(first, second)


@every_task
def test_classes_look_different_even_when_drawn_from_the_same_numbers(task: str) -> None:
    drawn = [render(task, label, np.random.default_rng(7)) for label in range(len(CLASSES[task]))]
    assert len({picture.tobytes() for picture in drawn}) == len(CLASSES[task])


def test_a_contact_sheet_has_a_row_per_task_and_a_column_per_picture() -> None:
    sheet = contact_sheet(columns=3, scale=2)
    assert sheet.mode == "RGB"
    assert sheet.size == (3 * SIZE * 2, len(PAPER_TASKS) * SIZE * 2)
    row = np.asarray(sheet)[::2, ::2][-SIZE:]
    np.testing.assert_array_equal(row, np.hstack(list(render_split("dtd", "test", 3)[0])))


@pytest.mark.parametrize(
    ("sheet", "tasks"),
    [("miniature", PAPER_TASKS), ("miniature20", TALL20_TASKS[len(PAPER_TASKS) :])],
)
def test_the_pictures_are_those_that_the_shipped_weights_were_trained_on(
    sheet: str, tasks: tuple[str, ...]
) -> None:
    """A processor or a library may round a few pixels otherwise; a changed drawing moves many."""
    with Image.open(DOCS / f"{sheet}.png") as picture:
        shown = np.asarray(picture)[::2, ::2].astype(int)
    difference = np.abs(shown - np.asarray(contact_sheet(scale=1, tasks=tasks)))
    assert np.count_nonzero(difference) < 20, f"Train the weights anew: `make {sheet}`."

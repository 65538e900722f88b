"""A few images of every task or class, the same ones in every run of a seed."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.few_images import FewImages
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import UNLABELLED, Split
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.warn import WeMoEWarning

TASKS = ["cars", "dtd", "mnist"]
SIZE = 20  # images per split and task of the tiny suite, two of every class


def streamed(suite: Suite, task: str, count: int = 3 * SIZE, **options: Any) -> list[int]:
    """The places of the first images of a task in its stream."""
    batches = MultiTaskData(suite, batch_size=4, **options).step_batches()
    places = [place for step in range(count) for place in batches.indices(task, step)]
    return places[:count]


@pytest.fixture
def larger(tiny_suite: Suite) -> Suite:
    return replace(tiny_suite, tasks={t: MiniatureTask(t, 40, 60) for t in TASKS})


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("task", TASKS)
def test_the_few_images_are_the_first_of_the_whole_stream(
    larger: Suite, task: str, split: Split
) -> None:
    every = streamed(larger, task, stream=split, seed=3)
    few = streamed(larger, task, stream=split, seed=3, images_per_task=7)
    assert set(few) == set(every[:7])
    assert set(few) != set(streamed(larger, task, stream=split, seed=4, images_per_task=7))


def test_all_images_are_the_whole_stream(tiny_suite: Suite) -> None:
    every = streamed(tiny_suite, "dtd")
    assert streamed(tiny_suite, "dtd", images_per_task=SIZE) == every
    assert streamed(tiny_suite, "dtd", images_per_class=2) == every


@pytest.mark.parametrize("wanted", ["images_per_task", "images_per_class"])
def test_those_of_a_small_number_are_among_those_of_a_larger(larger: Suite, wanted: str) -> None:
    of_two, of_five = (set(streamed(larger, "cars", **{wanted: n})) for n in (2, 5))
    assert of_two < of_five


def test_a_number_of_every_class_is_the_first_of_it_in_the_whole_stream(larger: Suite) -> None:
    labels = larger.task("mnist").images("test").labels
    few = streamed(larger, "mnist", count=240, images_per_class=3)
    expected: dict[int, list[int]] = {}
    for place in streamed(larger, "mnist", count=60):
        expected.setdefault(labels[place], []).append(place)
    assert set(few) == {place for places in expected.values() for place in places[:3]}
    assert Counter(labels[place] for place in set(few)) == dict.fromkeys(range(10), 3)


def test_a_batch_may_be_larger_than_all_images(tiny_suite: Suite) -> None:
    batches = MultiTaskData(tiny_suite, batch_size=11, images_per_task=3).step_batches()
    for step in range(3):
        assert [len(labels) for _, labels in batches[step].values()] == [11, 11, 11]
    used = [place for step in range(9) for place in batches.indices("dtd", step)]
    rounds = [used[start : start + 3] for start in range(0, 99, 3)]
    assert {frozenset(one) for one in rounds} == {frozenset(used)}
    assert len({tuple(one) for one in rounds}) > 1


def test_labels_have_no_part_in_a_number_of_every_task(
    tiny_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = streamed(tiny_suite, "dtd", images_per_task=5)
    data = MultiTaskData(tiny_suite, batch_size=4, images_per_task=5)
    images = data.sets.load(ImageSet("dtd", "test")).images
    monkeypatch.setattr(images, "labels", [UNLABELLED] * SIZE)
    batches = data.step_batches()
    assert [p for step in range(SIZE) for p in batches.indices("dtd", step)][: 3 * SIZE] == honest


def test_the_same_images_are_chosen_corrupted(tiny_suite: Suite) -> None:
    clean, noisy = (
        streamed(tiny_suite, "dtd", images_per_class=1, corruption=corruption)
        for corruption in (None, Corruption("contrast"))
    )
    assert noisy == clean


def test_all_images_are_scored(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite, images_per_task=2)
    assert [len(loader.dataset) for loader in data.test_dataloader()] == [SIZE] * 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_task": 0}, "images_per_task is 0: give a number from 1."),
        ({"per_class": -1}, "images_per_class is -1: give a number from 1."),
        (
            {"per_task": 5, "per_class": 2},
            "images_per_task is 5 and images_per_class is 2: give one of them.",
        ),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        FewImages(**options)
    assert str(error.value) == message


def test_more_images_than_there_are_are_refused(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError) as error:
        MultiTaskData(tiny_suite, images_per_task=21).step_batches()
    assert str(error.value) == (
        "images_per_task is 21, and there are 20 test images of 'cars': give 20 at most, or leave "
        "it out to take all."
    )


def test_a_class_that_has_fewer_gives_all_and_is_told_of(tiny_suite: Suite) -> None:
    suite = replace(tiny_suite, tasks={"dtd": MiniatureTask("dtd", 20, 25)}, experts={}, heads={})
    said = (
        r"^images_per_class is 3, but 5 of 10 classes of the test images of 'dtd' have fewer, "
        r"the smallest class 2: all images of these classes are used\.$"
    )
    with pytest.warns(WeMoEWarning, match=said):
        assert set(streamed(suite, "dtd", images_per_class=3)) == set(range(25))


def test_images_without_labels_cannot_be_chosen_by_them(
    tiny_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = MultiTaskData(tiny_suite, images_per_class=1)
    images = data.sets.load(ImageSet("mnist", "test")).images
    monkeypatch.setattr(images, "labels", [*images.labels[:-1], UNLABELLED])
    with pytest.raises(ConfigError) as error:
        data.step_batches()
    assert str(error.value) == (
        "images_per_class is 1, which chooses images by label, but not all test images of 'mnist' "
        "have labels: give images_per_task."
    )


def test_what_was_adapted_on_is_said() -> None:
    assert FewImages().note == ""
    assert FewImages(per_task=5).note == "Adapted on 5 images of every task."
    assert "chosen by label" in FewImages(per_class=5).note

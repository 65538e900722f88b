"""Batches that follow from (seed, step) alone."""

import pytest
import torch

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.streams import StepBatches
from wemoe_pl.data.suite import Suite

SIZE = 20  # images per split and task of the tiny suite


def batches(suite: Suite, seed: int = 0, batch_size: int = 8) -> StepBatches:
    data = MultiTaskData(suite)
    tasks = {task: data.sets.load(ImageSet(task, "test")) for task in suite.tasks}
    return StepBatches(tasks, batch_size, tasks_per_batch=3, seed=seed)


def test_another_seed_gives_another_order(tiny_suite: Suite) -> None:
    one, other = batches(tiny_suite, seed=0), batches(tiny_suite, seed=1)
    assert one.indices("cars", 0) != other.indices("cars", 0)


def test_tasks_have_orders_of_their_own(tiny_suite: Suite) -> None:
    order = batches(tiny_suite)
    assert order.indices("cars", 0) != order.indices("dtd", 0)


@pytest.mark.parametrize("batch_size", [7, SIZE, 3 * SIZE + 1])
def test_every_epoch_has_every_image_once_in_a_new_order(
    tiny_suite: Suite, batch_size: int
) -> None:
    order = batches(tiny_suite, batch_size=batch_size)
    used = [index for step in range(SIZE) for index in order.indices("mnist", step)]
    epochs = [used[start : start + SIZE] for start in range(0, len(used), SIZE)]
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_images_come_with_their_own_labels(tiny_suite: Suite) -> None:
    order = batches(tiny_suite)
    images, labels = order[4]["dtd"]
    task = order.tasks["dtd"]
    chosen = [task.images[index] for index in order.indices("dtd", 4)]
    assert torch.equal(images, torch.stack([task.preprocessing(image) for image, _ in chosen]))
    assert labels.tolist() == [label for _, label in chosen]


@pytest.mark.parametrize("cache_images", [False, True])
def test_images_are_the_same_one_by_one_and_many_at_once(
    tiny_suite: Suite, cache_images: bool
) -> None:
    loaded = MultiTaskData(tiny_suite, cache_images=cache_images).sets.load(ImageSet("dtd", "test"))
    places = [7, 0, 7, 3]
    apart = [
        (loaded.preprocessing(image), label)
        for image, label in map(loaded.images.__getitem__, places)
    ]
    for some in (loaded.__getitems__(places), [loaded[place] for place in places]):
        assert [label for _, label in some] == [label for _, label in apart]
        assert all(
            torch.equal(one, other) for (one, _), (other, _) in zip(some, apart, strict=True)
        )

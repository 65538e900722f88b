"""Batches that follow from (seed, step) alone, and the share of them that a process has."""

from itertools import chain, islice

import pytest
import torch

from wemoe_pl.data.datamodule import ImageSet, MultiTaskData
from wemoe_pl.data.streams import CountFrom, Share, StepBatches, WholeBatches
from wemoe_pl.data.suite import Suite

SIZE = 20  # images per split and task of the tiny suite


def batches(suite: Suite, seed: int = 0, batch_size: int = 8) -> StepBatches:
    data = MultiTaskData(suite)
    tasks = {task: data.load(ImageSet(task, "test")) for task in suite.tasks}
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
    loaded = MultiTaskData(tiny_suite, cache_images=cache_images).load(ImageSet("dtd", "test"))
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


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_shares_of_a_batch_are_it_in_the_order_of_ranks(processes: int) -> None:
    batch = [5, 3, 8, 1, 0, 2, 7, 7]
    shares = [Share(rank, processes).of_batch(batch) for rank in range(processes)]
    assert {len(share) for share in shares} == {8 // processes}
    assert list(chain.from_iterable(shares)) == batch


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 40])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_every_image_is_dealt_to_one_process_and_no_batch_is_cut(
    size: int, batch_size: int, processes: int
) -> None:
    samplers = [WholeBatches(size, batch_size, Share(r, processes)) for r in range(processes)]
    shares = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(share) for share in shares]
    assert sorted(chain.from_iterable(shares)) == list(range(size))
    whole = [list(range(size))[start : start + batch_size] for start in range(0, size, batch_size)]
    for rank, share in enumerate(shares):
        own = [share[start : start + batch_size] for start in range(0, len(share), batch_size)]
        assert own == whole[rank::processes]


def test_a_stream_has_no_end() -> None:
    steps = CountFrom(lambda: 5)
    assert list(islice(steps, 3)) == [5, 6, 7]
    with pytest.raises(TypeError, match="no last step"):
        len(steps)

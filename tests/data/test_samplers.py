"""The shares of all processes are the whole, and Lightning leaves our samplers alone."""

from itertools import chain, islice

import pytest
from torch.utils.data import DistributedSampler, SequentialSampler

from wemoe_pl.data.samplers import CountFrom, Share, WholeBatches, places_of_few


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


def test_lightning_takes_them_for_the_samplers_that_it_leaves_alone() -> None:
    for sampler in (WholeBatches(7, 2, Share(1, 2)), CountFrom(lambda: 0)):
        assert isinstance(sampler, DistributedSampler)  # of several processes
        assert isinstance(sampler, SequentialSampler)  # to overfit
    own = WholeBatches(7, 2, Share(1, 2))
    assert (own.rank, own.num_replicas, own.shuffle) == (1, 2, False)


def test_a_few_images_are_the_same_every_time_and_of_all_classes() -> None:
    labels = [place % 10 for place in range(400)]  # of which every tenth is of one class
    places = places_of_few(400, 40, "mnist")
    assert places == sorted(set(places)) == places_of_few(400, 40, "mnist")
    assert len({labels[place] for place in places}) > 7
    assert places != places_of_few(400, 40, "cars")
    assert places_of_few(5, 40, "mnist") == list(range(5))

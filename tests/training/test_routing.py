"""Mean routing weights, against a loop over samples."""

import pytest
import torch

from wemoe_pl.training.routing import RoutingStatistics

BLOCKS, EXPERTS = 3, 4


def test_the_mean_is_taken_over_the_samples_of_all_batches() -> None:
    sizes = (5, 2, 1)  # unequal, so that a mean of means would differ
    batches = [[torch.randn(size, EXPERTS) for _ in range(BLOCKS)] for size in sizes]
    routing = RoutingStatistics(BLOCKS, EXPERTS)
    for batch in batches:
        routing.update(batch)
    for block in range(BLOCKS):
        for expert in range(EXPERTS):
            weights = [w for batch in batches for w in batch[block][:, expert].tolist()]
            expected = pytest.approx(sum(weights) / sum(sizes), abs=1e-6)
            assert routing.compute().mean[block, expert].item() == expected


def test_statistics_do_not_depend_on_the_order_of_the_batches_to_the_last_bit() -> None:
    batches = torch.randn(50, BLOCKS, 2, EXPERTS)
    one, other = RoutingStatistics(BLOCKS, EXPERTS), RoutingStatistics(BLOCKS, EXPERTS)
    for batch in batches:
        one.update(list(batch))
    for batch in batches.flip(0):
        other.update(list(batch))
    assert one.compute().mean.equal(other.compute().mean)


def test_half_precision_is_summed_in_single() -> None:
    routing = RoutingStatistics(blocks=1, experts=1)
    for _ in range(3000):
        routing.update([torch.ones(1, 1, dtype=torch.float16)])
    assert routing.compute().mean.item() == 1.0
    assert routing.compute().mean.dtype == torch.float32


def test_the_largest_routing_weight_of_every_sample_is_counted() -> None:
    generator = torch.Generator().manual_seed(3)
    batches = [torch.randn(2, n, 3, generator=generator) for n in (5, 8)]
    routing = RoutingStatistics(blocks=2, experts=3)
    for batch in batches:
        routing.update(list(batch))
    for block in range(2):
        winners = [w.index(max(w)) for batch in batches for w in batch[block].tolist()]
        expected = [winners.count(expert) / 13 for expert in range(3)]
        assert routing.compute().largest[block].tolist() == pytest.approx(expected)

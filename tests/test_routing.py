"""Mean routing weights, against a loop over samples."""

import pytest
import torch

from wemoe_pl.routing import RoutingStatistics

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


def test_half_precision_is_summed_in_single() -> None:
    routing = RoutingStatistics(blocks=1, experts=1)
    for _ in range(3000):
        routing.update([torch.ones(1, 1, dtype=torch.float16)])
    assert routing.compute().mean.item() == 1.0
    assert routing.total.dtype == torch.float32

"""Batches and counts of several processes are put together as one process would have them.

That real processes find the same weights and figures as one is tested in `tests/scale`.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from wemoe_pl.training.gathering import gather_batch, gather_metrics


def trainer_of(*shares_of_others: Tensor) -> Any:
    """A trainer of the first of several processes, which gives what the others have."""

    def all_gather(share: Tensor, sync_grads: bool) -> Tensor:
        assert sync_grads
        return torch.stack([share, *shares_of_others])

    return SimpleNamespace(
        world_size=1 + len(shares_of_others), strategy=SimpleNamespace(all_gather=all_gather)
    )


def test_one_process_has_the_whole_batch_already() -> None:
    shares = {"cars": torch.rand(2, 3)}
    assert gather_batch(trainer_of(), shares) is shares


def test_the_shares_of_processes_follow_each_other() -> None:
    mine, second, third = torch.rand(3, 2, 5, requires_grad=True)
    gathered = gather_batch(trainer_of(second, third), {"cars": mine})["cars"]
    assert torch.equal(gathered, torch.cat([mine, second, third]))
    [gradient] = torch.autograd.grad(gathered[:2].sum(), mine)
    assert torch.equal(gradient, torch.ones(2, 5))


def test_a_process_alone_keeps_its_counts() -> None:
    accuracy = MulticlassAccuracy(3, average="micro", sync_on_compute=False)
    accuracy.update(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]))
    gather_metrics([accuracy])
    assert accuracy.compute() == 0.75

"""Measure the routing inside an adapted model: where each block sends the samples of each task."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from wemoe_pl.training.metrics import from_units, in_units


class TaskRouting(NamedTuple):
    """A `TaskRouting` describes the routing of one task's samples.

    Attributes:
        mean: the mean routing weights, (blocks, experts).
        largest: the share of samples whose largest routing weight is each expert's, (blocks,
            experts).
    """

    mean: Tensor
    largest: Tensor


class RoutingStatistics(Metric):
    """The metric sums the routing of one task's samples, from which `compute` takes the means.

    >>> routing = RoutingStatistics(blocks=2, experts=3)
    >>> routing.update([torch.tensor([[0.3, 0.2, 0.1]]), torch.tensor([[0.3, 0.1, 0.5]])])
    >>> routing.compute().largest
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """

    total: Tensor
    won: Tensor
    samples: Tensor

    def __init__(self, blocks: int, experts: int):
        super().__init__(sync_on_compute=False)
        nothing = torch.zeros(blocks, experts, dtype=torch.long)
        self.add_state("total", nothing, dist_reduce_fx="sum")
        self.add_state("won", nothing.clone(), dist_reduce_fx="sum")
        self.add_state("samples", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, routing_weights: Sequence[Tensor]) -> None:
        """Add a batch: per block, the routing weights (B, T) of its samples."""
        per_block = torch.stack(list(routing_weights)).float()
        self.total += in_units(per_block).sum(dim=1)
        self.won += F.one_hot(per_block.argmax(dim=-1), per_block.shape[-1]).sum(dim=1)
        self.samples += per_block.shape[1]

    def compute(self) -> TaskRouting:
        """Return the means over all samples."""
        return TaskRouting(from_units(self.total) / self.samples, self.won / self.samples)

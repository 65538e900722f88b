"""What an adapted model does inside: where each block sends the samples of each task."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class RoutingMean(Metric):
    """Mean routing weights of one task's samples, (blocks, experts).

    >>> routing = RoutingMean(blocks=2, experts=3)
    >>> routing.update([torch.full((4, 3), 0.3), torch.full((4, 3), 0.5)])
    >>> routing.compute()
    tensor([[0.3000, 0.3000, 0.3000],
            [0.5000, 0.5000, 0.5000]])
    """

    total: Tensor
    samples: Tensor

    def __init__(self, blocks: int, experts: int):
        super().__init__()
        self.add_state("total", torch.zeros(blocks, experts), dist_reduce_fx="sum")
        self.add_state("samples", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, routing_weights: Sequence[Tensor]) -> None:
        """Add a batch: per block, the routing weights (B, T) of its samples."""
        per_block = torch.stack(list(routing_weights)).to(self.total)
        self.total += per_block.sum(dim=1)
        self.samples += per_block.shape[1]

    def compute(self) -> Tensor:
        """The mean over samples, (blocks, experts)."""
        return self.total / self.samples

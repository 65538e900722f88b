"""Modules that route samples to experts, and can be asked where those of the last batch went."""

from torch import Tensor, nn


class Routed(nn.Module):
    """A module that routes every sample of a batch between T experts.

    Attributes:
        record_routing: keep the routing weights of the last forward pass?
        detach_routing: are they kept without the graph of gradients that they belong to?
        routing_weights: those weights, (B, T), which need not be shares; None unless
            `record_routing`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.record_routing, self.detach_routing = False, True
        self.routing_weights: Tensor | None = None

    def record(self, routing_weights: Tensor) -> None:
        """Keep the routing weights of a batch, (B, T), if that was asked for."""
        recorded = routing_weights.detach() if self.detach_routing else routing_weights
        self.routing_weights = recorded if self.record_routing else None

"""Define modules that route samples to experts and can record the routing of the last batch."""

from torch import Tensor, nn


class Routed(nn.Module):
    """A `Routed` module routes every sample of a batch between T experts.

    Attributes:
        record_routing: True if the routing weights of the last forward pass are kept.
        detach_routing: True if they are kept without the autograd graph that they belong to.
        routing_weights: the routing weights that are kept, (B, T), which need not be shares; None
            unless `record_routing`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.record_routing, self.detach_routing = False, True
        self.routing_weights: Tensor | None = None

    def record(self, routing_weights: Tensor) -> None:
        """Keep the routing weights of a batch, (B, T), if `record_routing` is True."""
        recorded = routing_weights.detach() if self.detach_routing else routing_weights
        self.routing_weights = recorded if self.record_routing else None

"""What routes samples keeps where they went, when it is asked to."""

import torch

from wemoe_pl.moe.routed import Routed


def test_routing_weights_are_kept_when_that_is_asked_for() -> None:
    module, weights = Routed(), torch.rand(3, 2, requires_grad=True)
    module.record(weights)
    assert module.routing_weights is None
    module.record_routing = True
    module.record(weights)
    assert module.routing_weights is not None
    assert module.routing_weights.equal(weights)
    assert not module.routing_weights.requires_grad
    module.detach_routing = False
    module.record(weights)
    assert module.routing_weights.requires_grad
    module.record_routing = False
    module.record(weights)
    assert module.routing_weights is None

"""Define `Mixture`, a part of an encoder whose weights are mixed per sample (paper §3.2)."""

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.expert_parameter import ExpertParameter
from wemoe_pl.moe.routed import Routed
from wemoe_pl.moe.router import Router
from wemoe_pl.moe.task_vectors import Model, check_compatible, state_of

RoutingMode = Literal["sample", "batch"]


class Mixture(Routed):
    """A mixture adds task vectors to pretrained weights for every sample, weighted by a router.

    Sample b runs through W0 + Σ_i r_bi τ_i, weights and biases alike. The router computes r_b from
    the tokens of that sample alone, so the output never depends on the rest of the batch, unless
    `routing` is "batch".

    Attributes:
        task_vectors: the dictionary, by the names of the pretrained module's parameters.
        router: the router, which is the only trainable part.
        routing: the routing mode, "sample" or "batch".
    """

    task_vectors: Dictionary
    router: Router
    routing: RoutingMode

    @property
    @abstractmethod
    def pretrained(self) -> nn.Module:
        """Return the module whose weights are W0."""

    @property
    def num_experts(self) -> int:
        """Return T, the number of experts."""
        return next(vectors.count for _, vectors in self.task_vectors.items())

    def add_experts(
        self,
        experts: Sequence[Model],
        router: Router,
        routing: RoutingMode,
        compression: Compression,
    ) -> None:
        """Store the experts' task vectors, and the router that mixes them.

        Args:
            experts: T fine-tuned copies of the pretrained module, or their weights by name.
            router: a router between T experts; it gets the device and precision of the module.
            routing: the routing mode, "sample" or "batch".
            compression: the form in which the dictionary is stored.
        """
        self.task_vectors = store_task_vectors(self.pretrained, experts, compression)
        self.task_vectors.take_in(self.pretrained)
        weight = next(self.pretrained.parameters())
        self.router = router.to(device=weight.device, dtype=weight.dtype)
        self.routing = routing

    def route(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) → routing weights (B, T), or (1, T) if all samples have the same."""
        routing_weights = self.router.of_all if self.router.depth == 0 else self.router(x)
        if self.routing == "batch":
            routing_weights = routing_weights.mean(dim=0, keepdim=True)
        # `shape[0]`, since `len` would limit an exported program to batches of this size.
        self.record(routing_weights.expand(x.shape[0], -1))
        return routing_weights

    @torch.no_grad()
    def fold(self, routing_weights: Tensor | None = None) -> nn.Module:
        """Return a plain module with the weights that one routing gives.

        Args:
            routing_weights: the routing weights of all inputs, (T,); None for those of a router of
                depth 0, which routes all inputs alike.

        Raises:
            MergeError: no routing weights are given, and the router depends on its input.
        """
        if routing_weights is None and self.router.depth != 0:
            raise MergeError(
                f"A router of depth {self.router.depth} mixes the weights anew for every input: "
                "only a router of depth 0 can be folded into plain weights, unless it is said by "
                "which routing weights."
            )
        of_all = self.router.of_all if routing_weights is None else routing_weights[None]
        folded = deepcopy(self.pretrained)
        for name, mixed in self.task_vectors.mix(of_all).items():
            folded.get_parameter(name).add_(mixed[0])
        return folded


@torch.no_grad()
def store_task_vectors(
    pretrained: nn.Module, experts: Sequence[Model], compression: Compression
) -> Dictionary:
    """Build the dictionary of a module, parameter by parameter.

    If the experts' weights are read lazily, one tensor of them at a time is held in memory.
    """
    if not experts:
        raise MergeError("There is no expert to merge: give at least one.")
    states = [state_of(expert) for expert in experts]
    kind = type(pretrained).__name__
    for i, state in enumerate(states):
        check_compatible(pretrained.state_dict(), state, f"The {kind} of expert {i}")

    count, weights = len(states), pretrained.named_parameters()
    return Dictionary(
        {name: compression.store(w, ExpertParameter(states, name), count) for name, w in weights}
    )


def mixtures_of(encoder: nn.Module) -> dict[str, Mixture]:
    """Return the mixtures of an encoder by module name, in the order in which they run."""
    named = encoder.named_modules()
    return {name: module for name, module in named if isinstance(module, Mixture)}

"""Route every token to the expert whose task vector it is most like: SMILE (arXiv 2408.10174)."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from wemoe_pl.checkpoints import State
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod, checked_states
from wemoe_pl.merging.matrix_method import is_fused
from wemoe_pl.merging.regmean import linear_layers
from wemoe_pl.merging.spectral import Decomposition, decompose
from wemoe_pl.merging.task_arithmetic import add_experts
from wemoe_pl.moe.routed_linear import RoutedLinear, RoutedTaskVectors
from wemoe_pl.moe.task_vectors import Model, lazy_task_vector
from wemoe_pl.system.warn import warn


@dataclass(frozen=True)
class SMILE(MergeMethod):
    """SMILE adds to every linear layer the low-rank task vector of the expert chosen by each token.

    Nothing is learned: a token goes to the expert along whose leading right singular vectors most
    of it lies. A linear layer whose matrix no expert changed stays as it is.

    Args:
        rank: k, the number of singular values that are kept of each task vector.
        router_rank: the number of right singular vectors of each task vector that route.
        experts_per_token: the number of experts of a token, weighted by a softmax.
        split_qkv: True to decompose and route timm's one matrix of queries, keys and values as
            three, as published code for checkpoints of Hugging Face does.
        average_others: True to take the mean of the experts for all other weights; otherwise they
            are the pretrained ones.
    """

    is_static = True

    rank: int = 32
    router_rank: int = 16
    experts_per_token: int = 1
    split_qkv: bool = True
    average_others: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        for name in ("rank", "router_rank", "experts_per_token"):
            if (value := getattr(self, name)) < 1:
                raise MergeError(f"{name} of SMILE is {value}: choose a number from 1.")

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return a frozen encoder; one tensor of the experts' weights is in memory at a time."""
        base = pretrained.state_dict()
        states = checked_states(base, experts)
        vectors = [lazy_task_vector(base, state) for state in states]
        merged = deepcopy(pretrained).requires_grad_(False)
        layers = linear_layers(merged)
        routed = {name: self.routed(layer, name, vectors) for name, layer in layers.items()}
        for name, layer in routed.items():
            merged.set_submodule(name, layer)
        if not any(isinstance(layer, RoutedLinear) for layer in routed.values()):
            warn("SMILE merges nothing: no expert changed the matrix of a linear layer.")
        others = {key: base[key] for key in merged.state_dict() if key in base}
        share = 1 / len(states) if self.average_others else 0.0
        merged.load_state_dict(add_experts(others, states, share), strict=False)
        return merged

    def routed(self, layer: nn.Linear, name: str, vectors: Sequence[State]) -> nn.Module:
        """Return a routed layer in place of a linear one, or this one if no expert changed it.

        Args:
            layer: the pretrained layer; only changes of its matrix count.
            name: the name of the layer in the encoder.
            vectors: the experts' task vectors.
        """
        key, bias = f"{name}.weight", f"{name}.bias"
        count = 3 if self.split_qkv and is_fused(key) else 1
        found = [[self.decomposed(part) for part in vector[key].chunk(count)] for vector in vectors]
        if not any(len(part.values) for parts in found for part in parts):
            return layer
        biases: Sequence[Tensor | None] = [None] * count
        if layer.bias is not None:
            biases = torch.stack([vector[bias] for vector in vectors]).chunk(count, dim=1)
        return RoutedLinear(layer, list(map(self.put_together, zip(*found, strict=True), biases)))

    def decomposed(self, matrix: Tensor) -> Decomposition:
        """Decompose a task vector (m, n) to the rank in use, in single precision at least."""
        precise = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
        found = decompose(precise, max(self.rank, self.router_rank))
        return Decomposition(*(part.to(matrix.dtype) for part in found))

    def put_together(
        self, experts: Sequence[Decomposition], bias: Tensor | None
    ) -> RoutedTaskVectors:
        """Return routed task vectors of all experts' decompositions, padded with 0 to one rank."""
        lefts = [(one.left * one.values)[:, : self.rank].T for one in experts]
        left = pad_sequence(lefts, batch_first=True).permute(2, 0, 1).contiguous()
        right = pad_sequence([one.right for one in experts], batch_first=True)
        return RoutedTaskVectors(left, right, bias, self.router_rank, self.experts_per_token)

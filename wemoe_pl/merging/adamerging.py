"""Learn the coefficients of task arithmetic at test time: AdaMerging (arXiv 2310.02575)."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from wemoe_pl.merging.base import MergeMethod, checked_states
from wemoe_pl.moe.dense import DenseVectors
from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.scaling import DEFAULT_SCALING, check_scaling
from wemoe_pl.moe.task_vectors import Model, check_keep, lazy_task_vector, trim


@dataclass(frozen=True)
class AdaMerging(MergeMethod):
    """AdaMerging adapts only the coefficients λ of θ0 + Σ λ_i τ_i, by the same objective as WEMoE.

    Args:
        granularity: the sharing of coefficients: "task" learns one per expert, "layer" one per
            expert and parameter tensor.
        init_lambda: the value of all coefficients at the start, from 0 to 1.
        keep: the share of each task vector's entries that is merged, those of largest magnitude.
            Below 1 this is AdaMerging++, published with 0.2, which trims task vectors as TIES does.
        clamp: True to merge with coefficients clamped to 0 to 1, as the code of AdaMerging's
            authors does; one outside has no gradient. The tables of others do not clamp.
        trains_heads: True to adapt a copy of every task's head too, as SyMerge does (see
            `ExpertLabels`); the experts keep their own heads. Only the coefficients fold into
            plain weights, so the run leaves the adapted heads next to the weights.
    """

    granularity: Literal["task", "layer"] = "layer"
    init_lambda: float = DEFAULT_SCALING
    keep: float = 1.0
    clamp: bool = False
    trains_heads: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        check_scaling(self.init_lambda)
        check_keep(self.keep)

    @property
    def label(self) -> str:
        """Return the published name, with "++" when task vectors are trimmed."""
        name = f"{self.granularity.title()}-wise AdaMerging{'++' if self.keep < 1 else ''}"
        return f"{name} with heads" if self.trains_heads else name

    @property
    def scaling(self) -> float:
        """Return `init_lambda`, at which the coefficients start."""
        return self.init_lambda

    @torch.no_grad()
    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return an encoder whose coefficients are its only trainable parameters."""
        base = pretrained.state_dict()
        vectors = [lazy_task_vector(base, state) for state in checked_states(base, experts)]
        if self.keep < 1:
            vectors = [trim(vector, self.keep) for vector in vectors]
        weights = dict(pretrained.named_parameters())
        stacks = {name: torch.stack([vector[name] for vector in vectors]) for name in weights}
        dictionary = Dictionary({name: DenseVectors(stack) for name, stack in stacks.items()})
        shape = (len(vectors),) if self.granularity == "task" else (len(weights), len(vectors))
        coefficients = next(iter(weights.values())).new_full(shape, self.init_lambda)
        encoder = AdaptiveEncoder(deepcopy(pretrained), dictionary, coefficients, self.clamp)
        return encoder.train(pretrained.training)


class AdaptiveEncoder(nn.Module):
    """An adaptive encoder merges its weights anew in every forward pass.

    Args:
        encoder: the pretrained encoder, θ0; it is taken over and frozen.
        dictionary: the T task vectors of each parameter of the encoder.
        coefficients: λ, (T,), or (L, T) with a row per parameter in the encoder's order.
        clamp: True to merge with coefficients clamped to 0 to 1.
    """

    def __init__(
        self,
        encoder: nn.Module,
        dictionary: Dictionary,
        coefficients: Tensor,
        clamp: bool = False,
    ):
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.task_vectors = dictionary
        self.coefficients = nn.Parameter(coefficients)
        self.clamp = clamp

    def merged_weights(self) -> dict[str, Tensor]:
        """Return the weights θ0 + Σ λ_i τ_i, by the encoder's own names."""
        weights = dict(self.encoder.named_parameters())
        coefficients = self.coefficients.clamp(0, 1) if self.clamp else self.coefficients
        rows = coefficients.expand(len(weights), -1)
        vectors = dict(self.task_vectors.items())
        return {
            name: weight + vectors[name].mix(row[None])[0]
            for (name, weight), row in zip(weights.items(), rows, strict=True)
        }

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) as features (B, D)."""
        return functional_call(self.encoder, self.merged_weights(), (images,))

    @torch.no_grad()
    def fold(self) -> nn.Module:
        """Return a plain encoder whose weights are merged with the present coefficients."""
        folded = deepcopy(self.encoder)
        for name, weight in self.merged_weights().items():
            folded.get_parameter(name).copy_(weight)
        return folded

"""WEMoE: task arithmetic outside the MLPs, a weight-ensembling mixture in place of each MLP."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from torch import nn

from wemoe_pl.checkpoints import LazyState, State, shapes_of
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod, blocks_of, checked_states
from wemoe_pl.merging.task_arithmetic import add_experts
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.layers import (
    ROUTER_INIT_STD,
    RoutingMode,
    WeightEnsemblingMoE,
    check_router_depth,
    mlp_width,
)
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.scaling import DEFAULT_SCALING, check_scaling
from wemoe_pl.moe.task_vectors import Model

MLP_KEY = re.compile(r"blocks\.\d+\.mlp\.")


@dataclass(frozen=True)
class WEMoE(MergeMethod):
    """Weight-ensembling mixture of experts (arXiv 2402.00433).

    Args:
        init_lambda: λ of the frozen part, and the routing weight of every expert at the start.
        router_depth: 0 (a free vector), 1 (linear) or 2 (one hidden layer).
        routing: every "sample" by itself, or a whole "batch", which should then be of one task.
        init_std: standard deviation of the routers' initial weights.
        shared_router: one router for all blocks instead of one for each.
        compression: how the dictionary is stored: `Dense`, `Pruned`, `LowRank` or `Quantised`.
    """

    init_lambda: float = DEFAULT_SCALING
    router_depth: int = 2
    routing: RoutingMode = "sample"
    init_std: float = ROUTER_INIT_STD
    shared_router: bool = False
    compression: Compression = field(default_factory=Dense)

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        check_scaling(self.init_lambda)
        check_router_depth(self.router_depth)

    @property
    def learning_rate(self) -> float:
        """Return the published rate: 1e-4 for routers that see their input, else 1e-3."""
        return 1e-3 if self.router_depth == 0 else 1e-4

    @property
    def scaling(self) -> float:
        """The routers start at `init_lambda`."""
        return self.init_lambda

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """An encoder whose routers are its only trainable parameters.

        Experts whose weights are read lazily are gone through block by block, so that next to the
        result only the pretrained encoder is in memory.
        """
        blocks_of(pretrained)  # refuses an encoder before its experts are looked at
        return self.upscaled(pretrained, checked_states(pretrained.state_dict(), experts))

    def upscaled(self, pretrained: nn.Module, states: Sequence[State]) -> nn.Module:
        """Merge as `merge` does, of experts whose weights are known to fit."""
        base = pretrained.state_dict()
        pretrained_blocks = blocks_of(pretrained)
        outside = {k: w for k, w in base.items() if not MLP_KEY.match(k)}
        merged = copy_without_mlps(pretrained).requires_grad_(False)
        merged.load_state_dict(add_experts(outside, states, self.init_lambda), strict=False)
        options = (
            self.init_lambda,
            self.router_depth,
            self.routing,
            self.init_std,
            self.compression,
        )
        mixtures = []
        pairs = zip(blocks_of(merged), pretrained_blocks, strict=True)
        for i, (block, original) in enumerate(pairs):
            mlps = [part_of(state, f"blocks.{i}.mlp.") for state in states]
            mixture = WeightEnsemblingMoE(original.get_submodule("mlp"), mlps, *options)
            block.mlp = mixture.train(pretrained.training)
            mixtures.append(mixture)
        if self.shared_router:
            share_router(mixtures)
        return merged


@dataclass(frozen=True)
class EWEMoE(WEMoE):
    """Efficient WEMoE (arXiv 2410.21804): pruned task vectors, and one router for all blocks.

    Its options are WEMoE's with other defaults: 90 % of the entries are pruned.
    """

    shared_router: bool = True
    compression: Compression = field(default_factory=Pruned)

    @property
    def label(self) -> str:
        """Return the published name."""
        return "E-WEMoE"


def share_router(mixtures: Sequence[WeightEnsemblingMoE]) -> None:
    """Let all mixtures be routed by the first one's router.

    Raises:
        MergeError: their inputs differ in width.
    """
    widths = {mlp_width(mixture.mlp) for mixture in mixtures}
    if len(widths) > 1:
        raise MergeError(
            f"Blocks of widths {sorted(widths)} cannot share a router: set `shared_router: false`."
        )
    for mixture in mixtures[1:]:
        mixture.router = mixtures[0].router


def copy_without_mlps(encoder: nn.Module) -> nn.Module:
    """A copy that has nothing in the place of each block's MLP, most of a transformer's memory."""
    return deepcopy(encoder, {id(block.mlp): nn.Identity() for block in blocks_of(encoder)})


def part_of(state: State, prefix: str) -> LazyState:
    """The weights of one module inside a model, read when asked for."""
    all_shapes = shapes_of(state).items()
    shapes = {k.removeprefix(prefix): s for k, s in all_shapes if k.startswith(prefix)}
    return LazyState(shapes, lambda key: state[prefix + key])


def upscale(
    pretrained: nn.Module,
    experts: Mapping[str, Model] | Sequence[Model],
    init_lambda: float = DEFAULT_SCALING,
    router_depth: int = 2,
) -> nn.Module:
    """Upscale a timm vision transformer and its experts to one WEMoE encoder.

    Args:
        pretrained: an encoder with `blocks[i].mlp` (ViT, DeiT, EVA, BEiT, …).
        experts: fine-tuned copies of it, or their weights, by name or in order. The head of a
            classifier is left out if the pretrained one has none.
        init_lambda: λ, from 0 to 1.
        router_depth: 0, 1 or 2.

    Raises:
        MergeError: no experts, experts of another architecture, or an encoder of unknown form.

    >>> import timm
    >>> import torch
    >>> small = dict(img_size=32, patch_size=16, embed_dim=16, depth=2, num_heads=2, num_classes=0)
    >>> vits = [timm.create_model("vit_tiny_patch16_224", **small) for _ in range(3)]
    >>> encoder = upscale(vits[0], {"cars": vits[1], "mnist": vits[2]})
    >>> encoder(torch.randn(5, 3, 32, 32)).shape
    torch.Size([5, 16])
    """
    if not isinstance(experts, Mapping):
        experts = {str(i): expert for i, expert in enumerate(experts)}
    return WEMoE(init_lambda, router_depth).merge(pretrained, experts)

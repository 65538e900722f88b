"""Define WEMoE: a weight-ensembling mixture in place of each MLP, task arithmetic elsewhere."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, State, factors_of, shapes_of
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod, blocks_of, checked_states
from wemoe_pl.merging.router_start import fit_routers
from wemoe_pl.merging.task_arithmetic import add_experts
from wemoe_pl.merging.wrapper import check_gives_weights
from wemoe_pl.moe.attention import WeightEnsemblingAttention
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.layers import WeightEnsemblingMoE
from wemoe_pl.moe.mixture import Mixture, RoutingMode
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.router import NO_GATE, ROUTER_INIT_STD, Gate, check_router
from wemoe_pl.moe.scaling import DEFAULT_SCALING, check_scaling
from wemoe_pl.moe.task_vectors import Model

ATTENTION, MLP = "attn", "mlp"  # timm's names of these parts of a block
RouterSharing = Literal["own", "shared"]


@dataclass(frozen=True)
class WEMoE(MergeMethod):
    """WEMoE merges the experts' MLPs into weight-ensembling mixtures (arXiv 2402.00433).

    The options from `gate` on go beyond the paper; their defaults are what is published.

    Args:
        init_lambda: λ of the frozen part, and the routing weight of every expert at the start.
        router_depth: the depth of routers: 0 (a free vector), 1 (linear) or 2 (one hidden layer).
        routing: the unit to route: a "sample", or a whole "batch", which should be of one task.
        init_std: the standard deviation of the routers' initial weights.
        shared_router: True for one router for all blocks instead of one for each.
        compression: the form of the dictionary: `Dense`, `Pruned`, `LowRank` or `Quantised`.
        gate: the last step of a router: a softmax, the largest few scores, or nothing.
        rest: a static method for what is not in the dictionary, instead of task arithmetic by λ.
        centre: a static method whose merge takes the place of the pretrained weights, here and in
            the task vectors θ_i − θ_centre. At a λ of 0 adaptation starts from that merge.
        attention: the form of a dictionary of every block's attention, which is then routed as the
            MLP is; without one, attention is part of the rest.
        attention_router: the router of attention: its "own", or the one of its block's MLP
            ("shared"), which then computes weights from the input of attention.
        router_width: the number of hidden units at depth 2; by default the width of tokens.
        start_images: the number of unlabelled images of every task that routers are fitted to
            before the first step (see `fit_routers`); 0 starts the routers at random.
    """

    init_lambda: float = DEFAULT_SCALING
    router_depth: int = 2
    routing: RoutingMode = "sample"
    init_std: float = ROUTER_INIT_STD
    shared_router: bool = False
    compression: Compression = field(default_factory=Dense)
    gate: Gate = NO_GATE
    rest: MergeMethod | None = None
    centre: MergeMethod | None = None
    attention: Compression | None = None
    attention_router: RouterSharing = "own"
    router_width: int | None = None
    start_images: int = 0

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        check_scaling(self.init_lambda)
        check_router(self.router_depth, self.router_width)
        for key, method in (("rest", self.rest), ("centre", self.centre)):
            if method is not None:
                check_gives_weights(method, type(self).__name__, key)
        if self.start_images < 0:
            raise MergeError(f"start_images is {self.start_images}: give a number from 0.")
        if self.start_images and self.router_depth == 0:
            raise MergeError(
                "A router of depth 0 does not look at images: set start_images to 0, or "
                "router_depth to 1 or 2."
            )

    @property
    def learning_rate(self) -> float:
        """Return the published rate: 1e-4 for routers that see their input, else 1e-3."""
        return 1e-3 if self.router_depth == 0 else 1e-4

    @property
    def scaling(self) -> float:
        """Return `init_lambda`, at which the routers start."""
        return self.init_lambda

    def initial_weight(self, experts: int) -> float | None:
        """Return λ, 1 / T for a softmax, or None for routers that are fitted to images."""
        if self.start_images:
            return None
        return 1 / experts if self.gate.softmax else self.init_lambda

    @property
    def routes_batches(self) -> bool:
        """Return whether a batch is routed as a whole."""
        return self.routing == "batch"

    @property
    def initial_images(self) -> int:
        """Return the number of images of every task that the routers are fitted to."""
        return self.start_images

    def initialise(self, encoder: nn.Module, images: Mapping[str, Tensor]) -> None:
        """Fit the routers to images of the tasks."""
        fit_routers(encoder, images)

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return an encoder whose routers are its only trainable parameters.

        Lazy experts are read block by block. In addition to the result, only the pretrained encoder
        and the merges of `rest` and `centre` are then in memory.
        """
        blocks_of(pretrained)  # refuses an encoder before its experts are looked at
        states = checked_states(pretrained.state_dict(), experts)
        start = self.centre.merge(pretrained, experts) if self.centre else pretrained
        rest = self.rest.merge(pretrained, experts).state_dict() if self.rest else None
        return self.upscaled(start, states, rest)

    def upscaled(
        self, pretrained: nn.Module, states: Sequence[State], rest: State | None = None
    ) -> nn.Module:
        """Merge as `merge` does, with experts whose weights are known to fit.

        Args:
            pretrained: the encoder from which task vectors start.
            states: the experts' weights.
            rest: the weights outside the dictionary; by default those of task arithmetic.
        """
        mixed = re.compile(rf"blocks\.\d+\.({'|'.join(self.mixed_parts)})\.")
        base = pretrained.state_dict()
        kept = {key: weight for key, weight in base.items() if not mixed.match(key)}
        if rest is None:
            rest = add_experts(kept, states, self.init_lambda)
        merged = copy_without(pretrained, self.mixed_parts).requires_grad_(False)
        merged.load_state_dict({key: rest[key] for key in kept}, strict=False)
        mixtures: list[list[Mixture]] = []
        pairs = zip(blocks_of(merged), blocks_of(pretrained), strict=True)
        for i, (block, original) in enumerate(pairs):
            mixtures.append([])
            for part in self.mixed_parts:
                mixture = self.mix(original, part, i, states).train(pretrained.training)
                setattr(block, part, mixture)  # one by one: `ShardedDictionary` shards it when set
                mixtures[-1].append(mixture)
        for of_part in zip(*mixtures, strict=True) if self.shared_router else ():
            share_router(of_part)
        for of_block in mixtures if self.attention_router == "shared" else ():
            share_router(of_block[::-1])  # the MLP's comes first
        return merged

    @property
    def mixed_parts(self) -> tuple[str, ...]:
        """Return the parts of a block that have a dictionary, in the order in which they run."""
        return (ATTENTION, MLP) if self.attention else (MLP,)

    def mix(self, block: nn.Module, part: str, number: int, states: Sequence[State]) -> Mixture:
        """Make a mixture of a part of a block and of the same part of every expert.

        Raises:
            MergeError: the block has no such part, or it cannot be mixed.
        """
        pretrained = getattr(block, part, None)
        if not isinstance(pretrained, nn.Module):
            raise MergeError(
                f"blocks[{number}], a {type(block).__name__}, has no `{part}` to mix: leave out "
                "`attention`, so that only the MLPs are mixed."
            )
        experts = [part_of(state, f"blocks.{number}.{part}.") for state in states]
        router = self.init_lambda, self.router_depth, self.routing, self.init_std
        last = self.gate, self.router_width
        if part == MLP or self.attention is None:
            return WeightEnsemblingMoE(pretrained, experts, *router, self.compression, *last)
        return WeightEnsemblingAttention(pretrained, experts, *router, self.attention, *last)


@dataclass(frozen=True)
class EWEMoE(WEMoE):
    """E-WEMoE prunes task vectors, and has one router for all blocks (arXiv 2410.21804).

    Efficient WEMoE has the options of WEMoE with other defaults: 90 % of the entries are pruned.
    """

    shared_router: bool = True
    compression: Compression = field(default_factory=Pruned)

    @property
    def label(self) -> str:
        """Return the published name."""
        return "E-WEMoE"


def share_router(mixtures: Sequence[Mixture]) -> None:
    """Replace the routers of all mixtures by the first one's router.

    Raises:
        MergeError: their inputs differ in width.
    """
    widths = {mixture.router.dim for mixture in mixtures}
    if len(widths) > 1:
        raise MergeError(
            f"Blocks of widths {sorted(widths)} cannot share a router: set `shared_router: false`."
        )
    for mixture in mixtures[1:]:
        mixture.router = mixtures[0].router


def copy_without(encoder: nn.Module, parts: Sequence[str]) -> nn.Module:
    """Return a copy of an encoder with `nn.Identity` in the place of some parts of each block.

    These parts are not copied, since MLPs take most of a transformer's memory.
    """
    left_out = (block.get_submodule(part) for block in blocks_of(encoder) for part in parts)
    return deepcopy(encoder, {id(part): nn.Identity() for part in left_out})


def part_of(state: State, prefix: str) -> LazyState:
    """Return the weights of one module inside a model, which are read when asked for."""
    all_shapes = shapes_of(state).items()
    shapes = {k.removeprefix(prefix): s for k, s in all_shapes if k.startswith(prefix)}
    return LazyState(
        shapes, lambda key: state[prefix + key], lambda key: factors_of(state, prefix + key)
    )


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
        router_depth: the depth of routers: 0, 1 or 2.

    Raises:
        MergeError: there are no experts, they are of another architecture, or the encoder is of
            unknown form.

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

"""Build a merged encoder before its weights are there, and make its architecture known to timm.

Once this module is imported, `timm.create_model` knows the architecture `wemoe`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from inspect import signature
from typing import Any

import torch
from timm.models import build_model_with_cfg, register_model
from torch import Tensor, nn

from wemoe_pl.checkpoints import HEAD, Backbone, State, first_difference, shapes_of
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.merging.wemoe import RouterSharing, WEMoE, part_of
from wemoe_pl.moe.dictionary import Dictionary, restored
from wemoe_pl.moe.layers import WeightEnsemblingMoE
from wemoe_pl.moe.mixture import RoutingMode, mixtures_of
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.router import NO_GATE, Gate

NOTHING = Pruned(ratio=1.0)  # takes no memory until the task vectors are there
ENCODER = "encoder."  # begins the keys of the encoder in a bundle, which has heads too
TASK_VECTORS = ".task_vectors."
MOST_EXPERTS = 1000  # fifty times as many as in any publication
ROUTED = (".router.out.bias", ".router.weights")  # the ends of keys whose tensors have shape (T,)
# The options that timm may be given in addition to the architecture. They change no weight's shape
# but in the first and last layer, which timm adapts.
DROPOUTS = [f"{part}drop_rate" for part in ("", "pos_", "patch_", "proj_", "attn_")]
SERVED = {"num_classes", "in_chans", *DROPOUTS, "drop_path_rate", "device", "dtype"}
TIMMS_OWN = set(signature(build_model_with_cfg).parameters)


@dataclass(frozen=True)
class Architecture:
    """An `Architecture` describes an encoder well enough to build it before its weights are there.

    Args:
        backbone: the name of a timm vision transformer.
        options: the keyword arguments for `timm.create_model`.
        experts: T, the number of task vectors of each MLP; 0 for a plain encoder.
        router_depth: the depth of routers: 0, 1 or 2.
        routing: the unit that is routed: "sample" or "batch".
        shared_router: True if there is one router for all blocks.
        gate: the last step of routers, which turns scores into routing weights.
        attention: the router of attention, "own" or "shared"; None if attention is not mixed.
        router_width: the number of hidden units at router depth 2; None for the width of tokens.
    """

    backbone: str
    options: dict[str, Any] = field(default_factory=dict)
    experts: int = 0
    router_depth: int = 2
    routing: RoutingMode = "sample"
    shared_router: bool = False
    gate: Gate = NO_GATE
    attention: RouterSharing | None = None
    router_width: int | None = None

    def __post_init__(self) -> None:
        """Accept the gate as a mapping, too, as a file holds it."""
        if isinstance(self.gate, Mapping):
            object.__setattr__(self, "gate", Gate(**self.gate))

    @classmethod
    def of(cls, encoder: nn.Module, backbone: Backbone) -> "Architecture":
        """Return the architecture of a plain encoder, or of one that was upscaled."""
        mixtures = mixtures_of(encoder)
        mlps = [m for m in mixtures.values() if isinstance(m, WeightEnsemblingMoE)]
        if not mlps:
            return cls(backbone.model, backbone.options)
        first, attention = mlps[0], next(iter(mixtures.values()))
        sharing: RouterSharing = "shared" if attention.router is first.router else "own"
        return cls(
            backbone.model,
            backbone.options,
            experts=first.num_experts,
            router_depth=first.router.depth,
            routing=first.routing,
            shared_router=len(mlps) > 1 and mlps[1].router is first.router,
            gate=first.router.gate,
            attention=None if attention is first else sharing,
            router_width=first.router.width if first.router.width != first.router.dim else None,
        )

    @property
    def plain_backbone(self) -> Backbone:
        """Return the backbone without task vectors and routers."""
        return Backbone(self.backbone, self.options)

    def build(self) -> nn.Module:
        """Return an encoder of random weights, whose task vectors, if it has any, are zero.

        Raises:
            ConfigError: the number of experts is below 0 or above `MOST_EXPERTS`.
        """
        if not 0 <= self.experts <= MOST_EXPERTS:
            raise ConfigError(
                f"The encoder cannot have {self.experts} experts: give the number that its config "
                f"had when it was exported, from 0 to {MOST_EXPERTS}."
            )
        plain = self.plain_backbone.build()
        if not self.experts:
            return plain
        method = WEMoE(
            router_depth=self.router_depth,
            routing=self.routing,
            shared_router=self.shared_router,
            compression=NOTHING,
            gate=self.gate,
            attention=NOTHING if self.attention else None,
            attention_router=self.attention or "own",
            router_width=self.router_width,
        )
        return method.upscaled(plain, [plain.state_dict()] * self.experts)

    def load(self, state: State, owner: str) -> nn.Module:
        """Return the encoder with the weights of a state dict, in evaluation mode.

        Args:
            state: the state as `own_state` gives it; it is read once, and keeps its precision.
            owner: the name of the state in errors.

        Raises:
            CheckpointError: the state is of another architecture; the message names the first key
                that shows it.
        """
        self.check_size(shapes_of(state), owner)
        encoder = self.build()
        take_dictionaries(state, encoder)
        places = own_state(encoder)
        if difference := first_difference(shapes_of(state), shapes_of(places)):
            raise CheckpointError(f"{owner} is not what its manifest says: {difference}.")
        others = {key: place for key, place in places.items() if TASK_VECTORS not in key}
        rest = {key: laid_out_as(place, of_its_kind(place, state[key], f"{owner}: '{key}'"))
                for key, place in others.items()}  # fmt: skip
        encoder.load_state_dict(rest, strict=False, assign=True)
        encoder.requires_grad_(False)
        for mixture in mixtures_of(encoder).values():
            mixture.task_vectors.take_in(mixture.pretrained)
            mixture.router.requires_grad_()  # only routers are trainable, as after merging
        return encoder.eval()

    def check_size(self, shapes: Mapping[str, torch.Size], owner: str) -> None:
        """Refuse an architecture larger than its file, before it takes time and memory.

        Args:
            shapes: the shapes of the tensors in the file, by key.
            owner: the name of the file in errors.

        Raises:
            CheckpointError: the manifest tells of blocks, weights or experts that the file lacks.
        """
        routed = [shape for key, shape in shapes.items() if key.endswith(ROUTED)]
        if self.experts and routed[:1] != [(self.experts,)]:
            found = f"is for {routed[0]}" if routed else "is missing"
            raise CheckpointError(
                f"{owner} is not what its manifest says: that lists routers for {self.experts} "
                f"experts, but the first router in the file {found}."
            )
        if count_numbers(self.plain_backbone.shapes) > count_numbers(shapes):
            raise CheckpointError(
                f"{owner} is not what its manifest says: '{self.backbone}' with {self.options} is "
                "larger."
            )


def of_its_kind(place: Tensor, tensor: Tensor, name: str) -> Tensor:
    """Return a tensor, or raise `CheckpointError` if it or its place alone is of floating point."""
    if tensor.is_floating_point() != place.is_floating_point():
        raise CheckpointError(f"{name} is of {tensor.dtype}, and not of {place.dtype}.")
    return tensor


def count_numbers(shapes: Mapping[str, torch.Size]) -> int:
    """Return the number of entries in tensors of these shapes."""
    return sum(shape.numel() for shape in shapes.values())


def own_state(encoder: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of an encoder, in which what several blocks share is only once."""
    parts = (*encoder.named_parameters(), *encoder.named_buffers())
    own = {name for name, _ in parts}
    return {key: tensor for key, tensor in encoder.state_dict().items() if key in own}


def laid_out_as(place: Tensor, tensor: Tensor) -> Tensor:
    """Return a tensor with the memory layout of another one, if they have the same shape."""
    if place.shape != tensor.shape or place.stride() == tensor.stride():
        return tensor
    moved = torch.empty_strided(place.shape, place.stride(), dtype=tensor.dtype)
    return moved.copy_(tensor)


def take_dictionaries(state: State, encoder: nn.Module) -> None:
    """Give an encoder's mixtures the dictionaries of a state dict, in the form stored there."""
    for name, mixture in mixtures_of(encoder).items():
        prefix, count = f"{name}{TASK_VECTORS}", mixture.num_experts
        weights = mixture.pretrained.named_parameters()
        vectors = {k: restored(part_of(state, f"{prefix}{k}."), w, count) for k, w in weights}
        mixture.task_vectors = Dictionary(vectors)


def whole_state(state: State, encoder: nn.Module) -> dict[str, Tensor]:
    """Return the state as timm takes it: `own_state` with shared tensors under all their names.

    The encoder's dictionaries become those of the state dict.

    Args:
        state: the state of an encoder, or of a whole bundle, whose heads are left out.
        encoder: the encoder that is to load it.
    """
    if any(key.startswith(ENCODER) for key in state):
        state = part_of(state, ENCODER)
    take_dictionaries(state, encoder)
    for mixture in mixtures_of(encoder).values():
        # Timm copies the weights of the state into these parameters.
        mixture.task_vectors.take_in(mixture.pretrained)
    names = [*encoder.named_parameters(remove_duplicate=False)]
    first = {id(parameter): name for name, parameter in reversed(names)}
    own = {name: first[id(parameter)] for name, parameter in names}
    return {**state, **{name: state[key] for name, key in own.items() if key in state}}


@register_model
def wemoe(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Return an upscaled encoder; `timm.create_model` finds this function by its name.

    Args:
        pretrained: True to load the weights that timm's `pretrained_cfg` names.
        **kwargs: the options of timm, of `Architecture`, and of the backbone as far as they are in
            `SERVED`.

    Raises:
        ConfigError: another option of the backbone is given.
    """
    check_served(**kwargs)
    return build_model_with_cfg(
        blank, "wemoe", pretrained, pretrained_filter_fn=whole_state, **kwargs
    )


def check_served(options: Mapping[str, Any], features_only: bool = False, **others: Any) -> None:
    """Raise `ConfigError` for an option of timm that an upscaled encoder cannot have.

    Args:
        options: the options of the backbone, as it was exported.
        features_only: True if timm should return an encoder that ends in maps of several blocks.
        **others: the other options that timm is given.
    """
    asked = {"features_only": True, **others} if features_only else others
    known = SERVED | TIMMS_OWN | {option.name for option in fields(Architecture)}
    for option, value in asked.items():
        if option not in known and (option not in options or options[option] != value):
            raise ConfigError(
                f"An upscaled encoder cannot be created with {option}={value!r}, since its weights "
                "belong to the backbone as it is: leave it out. The options that can be given are "
                f"{', '.join(sorted(SERVED))}."
            )


def blank(backbone: str, options: dict[str, Any], **more: Any) -> nn.Module:
    """Return an upscaled encoder without task vectors.

    A last layer for another number of classes is new, so it is trainable like the routers.

    Args:
        backbone: the name of a timm vision transformer.
        options: the options of the backbone.
        **more: further arguments of `Architecture`, and options that replace those of the backbone.
    """
    known = {option.name for option in fields(Architecture)}
    changed = options | {key: value for key, value in more.items() if key not in known}
    own = {key: value for key, value in more.items() if key in known}
    encoder = Architecture(backbone, changed, **own).build()
    if changed.get("num_classes", 0) != options.get("num_classes", 0):
        encoder.get_submodule(HEAD.rstrip(".")).requires_grad_()
    return encoder

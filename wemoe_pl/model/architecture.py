"""A merged encoder as an architecture: built before its weights are there, and known to timm.

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
from wemoe_pl.merging import RouterSharing, WEMoE, part_of
from wemoe_pl.moe.dictionary import Dictionary, restored
from wemoe_pl.moe.layers import WeightEnsemblingMoE
from wemoe_pl.moe.mixture import Mixture, RoutingMode, mixtures_of
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.router import NO_GATE, Gate

NOTHING = Pruned(ratio=1.0)  # takes no memory until the task vectors are there
TASK_VECTORS = ".task_vectors."
MOST_EXPERTS = 1000  # fifty times as many as are merged in what is published
ROUTED = (".router.out.bias", ".router.weights")  # the ends of keys whose shape is (T,)
# What timm may be asked for beside the architecture: none of it changes the shape of a weight but
# those of the first and last layer, which timm fits to it.
DROPOUTS = [f"{part}drop_rate" for part in ("", "pos_", "patch_", "proj_", "attn_")]
SERVED = {"num_classes", "in_chans", *DROPOUTS, "drop_path_rate", "device", "dtype"}
TIMMS_OWN = set(signature(build_model_with_cfg).parameters)


@dataclass(frozen=True)
class Architecture:
    """The architecture of an encoder: enough to build it before its weights are there.

    Args:
        backbone: the name of a timm vision transformer.
        options: keyword arguments for `timm.create_model`.
        experts: T, how many task vectors there are of each MLP; 0 for a plain encoder.
        router_depth: 0, 1 or 2.
        routing: by "sample" or by "batch".
        shared_router: is there one router for all blocks?
        gate: makes routing weights of the routers' scores.
        attention: by which router attention is mixed; None if it is not.
        router_width: the hidden units of routers of depth 2; None for as many as tokens are wide.
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
        """Take the gate as a file holds it, too."""
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
            experts=count_experts(first),
            router_depth=first.router.depth,
            routing=first.routing,
            shared_router=len(mlps) > 1 and mlps[1].router is first.router,
            gate=first.router.gate,
            attention=None if attention is first else sharing,
            router_width=first.router.width if first.router.width != first.router.dim else None,
        )

    def build(self) -> nn.Module:
        """An encoder of random weights, whose task vectors, if it has any, are zero.

        Raises:
            ConfigError: it has more experts than anybody merges.
        """
        if not 0 <= self.experts <= MOST_EXPERTS:
            raise ConfigError(
                f"The encoder is to have {self.experts} experts: give a number up to "
                f"{MOST_EXPERTS}, as its config had when it was exported."
            )
        plain = Backbone(self.backbone, self.options).build()
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
        """The encoder with the weights of a state dict, in evaluation mode.

        Args:
            state: what `own_state` gives, which is read once, and kept in its own precision.
            owner: what errors call the state.

        Raises:
            CheckpointError: the state is of another architecture; names the first such key.
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
            mixture.router.requires_grad_()  # the only part that does, as after merging
        return encoder.eval()

    def check_size(self, shapes: Mapping[str, torch.Size], owner: str) -> None:
        """Refuse what is larger than a file, before time and memory are taken for it.

        Args:
            shapes: of the tensors in the file.
            owner: see `load`.

        Raises:
            CheckpointError: a manifest makes up blocks, weights or experts.
        """
        routed = [shape for key, shape in shapes.items() if key.endswith(ROUTED)]
        if self.experts and routed[:1] != [(self.experts,)]:
            found = f"one for {routed[0]}" if routed else "none"
            raise CheckpointError(
                f"{owner} is not what its manifest says: that speaks of routers for {self.experts} "
                f"experts, and the first router there is {found}."
            )
        backbone = Backbone(self.backbone, self.options)
        if count_numbers(backbone.shapes) > count_numbers(shapes):
            raise CheckpointError(
                f"{owner} is not what its manifest says: '{self.backbone}' with {self.options} is "
                "larger."
            )


def of_its_kind(place: Tensor, tensor: Tensor, name: str) -> Tensor:
    """A tensor, if its numbers are whole or not as those in its place are; an error if not."""
    if tensor.is_floating_point() != place.is_floating_point():
        raise CheckpointError(f"{name} is of {tensor.dtype}, and not of {place.dtype}.")
    return tensor


def count_numbers(shapes: Mapping[str, torch.Size]) -> int:
    """Return the number of entries in tensors of these shapes."""
    return sum(shape.numel() for shape in shapes.values())


def own_state(encoder: nn.Module) -> dict[str, Tensor]:
    """The state dict of an encoder, with what several blocks share only once."""
    parts = (*encoder.named_parameters(), *encoder.named_buffers())
    own = {name for name, _ in parts}
    return {key: tensor for key, tensor in encoder.state_dict().items() if key in own}


def laid_out_as(place: Tensor, tensor: Tensor) -> Tensor:
    """A tensor with its numbers in memory in the order that another one's are in."""
    if place.shape != tensor.shape or place.stride() == tensor.stride():
        return tensor
    moved = torch.empty_strided(place.shape, place.stride(), dtype=tensor.dtype)
    return moved.copy_(tensor)


def count_experts(mixture: Mixture) -> int:
    """Return T, the number of experts of a mixture."""
    return next(vectors.count for _, vectors in mixture.task_vectors.items())


def take_dictionaries(state: State, encoder: nn.Module) -> None:
    """Give an encoder's mixtures the dictionaries of a state dict, in the form they have there."""
    for name, mixture in mixtures_of(encoder).items():
        prefix, count = f"{name}{TASK_VECTORS}", count_experts(mixture)
        weights = mixture.pretrained.named_parameters()
        vectors = {k: restored(part_of(state, f"{prefix}{k}."), w, count) for k, w in weights}
        mixture.task_vectors = Dictionary(vectors)


def whole_state(state: State, encoder: nn.Module) -> dict[str, Tensor]:
    """Return the state as timm takes it: `own_state` with what is shared under each of its names.

    The encoder's dictionaries become those of the state dict.
    """
    take_dictionaries(state, encoder)
    for mixture in mixtures_of(encoder).values():
        # Timm copies the weights into the places of these.
        mixture.task_vectors.take_in(mixture.pretrained)
    names = [*encoder.named_parameters(remove_duplicate=False)]
    first = {id(parameter): name for name, parameter in reversed(names)}
    own = {name: first[id(parameter)] for name, parameter in names}
    return {**state, **{name: state[key] for name, key in own.items() if key in state}}


@register_model
def wemoe(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """An upscaled encoder, by the name under which `timm.create_model` finds it.

    Args:
        pretrained: load the weights that timm's `pretrained_cfg` speaks of?
        **kwargs: timm's own, those of `Architecture`, and those of the backbone that are in
            `SERVED`.

    Raises:
        ConfigError: another option of the backbone is asked for.
    """
    check_served(**kwargs)
    return build_model_with_cfg(
        blank, "wemoe", pretrained, pretrained_filter_fn=whole_state, **kwargs
    )


def check_served(options: Mapping[str, Any], features_only: bool = False, **others: Any) -> None:
    """Raise `ConfigError` for what timm is asked for that an upscaled encoder cannot be.

    Args:
        options: of the backbone, as it was exported.
        features_only: timm's, for an encoder that ends in the maps of several blocks.
        **others: what else it is asked for.
    """
    asked = {"features_only": True, **others} if features_only else others
    known = SERVED | TIMMS_OWN | {option.name for option in fields(Architecture)}
    for option, value in asked.items():
        if option not in known and (option not in options or options[option] != value):
            raise ConfigError(
                f"An upscaled encoder cannot be created with {option}={value!r}, since its weights "
                "belong to the backbone as it is: leave it out. What can be given is "
                f"{', '.join(sorted(SERVED))}."
            )


def blank(backbone: str, options: dict[str, Any], **more: Any) -> nn.Module:
    """An upscaled encoder without task vectors.

    A last layer of another number of classes is new, and so trainable, as the routers are.

    Args:
        backbone: the name of a timm vision transformer.
        options: of the backbone.
        **more: further arguments of `Architecture`, and options that replace those of the backbone.
    """
    known = {option.name for option in fields(Architecture)}
    changed = options | {key: value for key, value in more.items() if key not in known}
    own = {key: value for key, value in more.items() if key in known}
    encoder = Architecture(backbone, changed, **own).build()
    if changed.get("num_classes", 0) != options.get("num_classes", 0):
        encoder.get_submodule(HEAD.rstrip(".")).requires_grad_()
    return encoder

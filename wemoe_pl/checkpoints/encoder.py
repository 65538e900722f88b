"""Encoders in one timm key space, strictly: every key accounted for, in both directions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints.backbone import Backbone
from wemoe_pl.checkpoints.forms import TEXT_FORMS, VISION_FORMS, Form, Make, recognise
from wemoe_pl.checkpoints.reading import Weights, open_weights
from wemoe_pl.checkpoints.state import LazyState
from wemoe_pl.errors import CheckpointError

ENCODER_FILE = "encoder.safetensors"
HEAD = "head."  # of timm's encoders: CLIP's projection, or a classifier's last layer
BLOCK_KEY = re.compile(r"(?:blocks|encoder\.layers|transformer\.resblocks)\.(\d+)\.")
Plan = dict[str, tuple[tuple[str, ...], Make]]
Shapes = Mapping[str, torch.Size]


def load_encoder(source: str, backbone: Backbone | str, projection: str | None = None) -> nn.Module:
    """Read an encoder in float32, in evaluation mode.

    Args:
        source: a file of weights, a folder that holds them, a hub id `owner/name[@revision]`, or
            `shipped:…` for the miniature's own. The form is told by the keys: timm's, Hugging
            Face's CLIP models, open_clip's; full models or the vision tower alone.
        backbone: the architecture, or the name of a timm model.
        projection: where to take CLIP's projection from if the source, being a vision tower
            alone, has none: the pretrained model's source.

    Raises:
        CheckpointError: missing, truncated, empty, a pickle of more than tensors, NaN or infinite,
            or of another architecture; names the file and the first such key.
        HubError: the hub has no such repository, or cannot be reached.
    """
    backbone = Backbone(backbone) if isinstance(backbone, str) else backbone
    state = encoder_state(source, backbone, projection)
    encoder = backbone.build()
    encoder.load_state_dict(dict(state))
    return encoder


def encoder_state(source: str, backbone: Backbone, projection: str | None = None) -> LazyState:
    """The weights of an encoder by timm's keys, read when asked for; see `load_encoder`."""
    tower = find_tower(open_weights(source, ENCODER_FILE))
    reference = backbone.shapes
    state = tower.converted(reference)
    if has_head(reference) and not tower.projects:
        if projection is None:
            raise CheckpointError(
                f"{tower.weights.name} has no projection ('head.weight'), being a vision tower "
                "alone: take it from the pretrained model (`projection`), or build the backbone "
                "with `num_classes: 0`."
            )
        state = with_projection(state, encoder_state(projection, backbone))
    if difference := first_difference(state.shapes, reference):
        raise CheckpointError(
            f"{tower.weights.name} does not fit the backbone '{backbone.model}'"
            f"{tower.other_architecture(reference)}: {difference}. "
            "Use weights that were fine-tuned from the same pretrained model."
        )
    return state


def text_state(source: str, reference: Shapes) -> LazyState:
    """The weights of CLIP's text tower by open_clip's keys, read when asked for.

    Args:
        source: see `load_encoder`; a full model.
        reference: what the text tower needs, and `logit_scale`.

    Raises:
        CheckpointError: there is no text tower, or one of another architecture.
    """
    tower = find_tower(open_weights(source, ENCODER_FILE), TEXT_FORMS)
    state = tower.converted(reference)
    if difference := first_difference(state.shapes, reference):
        raise CheckpointError(
            f"The text tower in {tower.weights.name} is not of the `text_tower` in the suite: "
            f"{difference}. Give the name under which open_clip knows this model."
        )
    return state


@dataclass(frozen=True)
class Tower:
    """The vision or text tower in a file of weights.

    Args:
        weights: the file.
        form: its form.
        prefix: what precedes the keys of the tower there.
    """

    weights: Weights
    form: Form
    prefix: str

    @property
    def projection(self) -> str:
        """The key of the projection to CLIP's joint space, whether or not it is there."""
        return self.form.projection.format(prefix=self.prefix)

    @property
    def projects(self) -> bool:
        """Has the file a projection, or a classifier's head?"""
        return self.projection in self.weights

    def converted(self, reference: Shapes) -> LazyState:
        """The weights by timm's keys; those that cannot be accounted for keep their own.

        Shapes follow from those in the file, by way of tensors without data.
        """
        plan = self._plan(reference)
        plan |= {key: ((key,), torch.clone) for key in self._unaccounted(plan, reference)}

        def read(key: str) -> Tensor:
            keys, make = plan[key]
            return make(*(self.weights[k] for k in keys)).contiguous()

        shapes = {}
        for key, (keys, make) in plan.items():
            parts = [torch.empty(self.weights.shapes[k], device="meta") for k in keys]
            try:
                shapes[key] = make(*parts).shape
            except RuntimeError:  # the parts do not go together: let the first one's shape be seen
                shapes[key] = parts[0].shape
        return LazyState(shapes, read)

    def _plan(self, reference: Shapes) -> Plan:
        """For timm's keys, those of the file and what is made of them; without what it lacks."""
        plan: Plan = {}
        for key, shape in reference.items():
            theirs, make = self.form.rule(key)
            keys = tuple(self.prefix + name for name in theirs)
            if key == "head.weight":
                keys = (self.projection,)
            if all(name in self.weights for name in keys):
                plan[key] = keys, make
            elif key == "head.bias" and self.projects:
                plan[key] = (), partial(torch.zeros, shape)  # CLIP's projection has none
        return plan

    def _unaccounted(self, plan: Plan, reference: Shapes) -> list[str]:
        """The file's keys that the plan does not use, and that are not known to be other parts."""
        used = {key for keys, _ in plan.values() for key in keys}
        return [
            key
            for key in self.weights
            if key not in used
            and not self.form.is_beside(key, self.prefix)
            and (has_head(reference) or not self._is_head(key))
        ]

    def _is_head(self, key: str) -> bool:
        return key == self.projection or key.startswith(self.prefix + HEAD)

    def other_architecture(self, reference: Shapes) -> str:
        """What tells this tower from the backbone: ViT-B/16 from ViT-B/32 by its patches."""
        keys = (k.removeprefix(self.prefix) for k in self.weights if k.startswith(self.prefix))
        theirs = architecture({**dict.fromkeys(keys), **self.converted(reference).shapes})
        ours = architecture(dict(reference))
        if theirs is None or theirs == ours:
            return ""
        return f", since it is a transformer of {theirs} and the backbone is one of {ours}"


def find_tower(weights: Weights, forms: Sequence[Form] = VISION_FORMS) -> Tower:
    """The tower of one of these forms in a file; `CheckpointError` if there is none."""
    if found := recognise(weights, forms):
        return Tower(weights, *found)
    first_keys = ", ".join(f"'{key}'" for key in list(weights)[:3]) or "none"
    kind = "vision" if forms is VISION_FORMS else "text"
    raise CheckpointError(
        f"{weights.name} has no {kind} tower of a known form: its keys ({first_keys} …) are not "
        f"those of {', '.join(form.name for form in forms[:-1])} or {forms[-1].name}."
    )


def has_head(shapes: Shapes) -> bool:
    """Does an encoder end in a projection or a classifier's last layer?"""
    return any(key.startswith(HEAD) for key in shapes)


def with_projection(state: LazyState, pretrained: LazyState) -> LazyState:
    """A vision tower with the pretrained model's projection, which fine-tuning left as it was."""
    shared = {key: shape for key, shape in pretrained.shapes.items() if key.startswith(HEAD)}

    def read(key: str) -> Tensor:
        return pretrained[key] if key in shared else state[key]

    return LazyState({**state.shapes, **shared}, read)


def architecture(shapes: Mapping[str, torch.Size | None]) -> str | None:
    """Width, depth and patch size of a vision transformer, in words.

    >>> patches = torch.Size([768, 3, 32, 32])
    >>> architecture({"patch_embed.proj.weight": patches, "blocks.0.norm1.bias": None})
    'width 768, depth 1 and patches of 32 pixels'
    """
    patches = shapes.get("patch_embed.proj.weight")
    if patches is None or len(patches) != 4:
        return None
    depth = len({found[1] for key in shapes if (found := BLOCK_KEY.match(key))})
    return f"width {patches[0]}, depth {depth} and patches of {patches[-1]} pixels"


def first_difference(shapes: Shapes, reference: Shapes) -> str | None:
    """The first key, in the reference's order, in which two states differ; None if in none.

    >>> first_difference({"w": torch.Size([2])}, {"w": torch.Size([3])})
    "'w' has shape (2,) instead of (3,)"
    """
    for key, shape in reference.items():
        if key not in shapes:
            return f"'{key}' is missing"
        if shapes[key] != shape:
            return f"'{key}' has shape {tuple(shapes[key])} instead of {tuple(shape)}"
    unknown = next((key for key in shapes if key not in reference), None)
    return f"'{unknown}' is not a part of it" if unknown is not None else None

"""Recognise the forms in which encoders are published, and map their keys to timm's.

A form is recognised by its keys. It says, for every tensor of a timm vision transformer (or of an
open_clip text tower), which tensors of the file it is made of.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from wemoe_pl.checkpoints.translation import (
    KeyMap,
    Make,
    as_token,
    stacked,
    transposed,
    unchanged,
    undo,
    with_batch,
    with_first_place,
    without_first_place,
)

COUNTERS = ("n_averaged",)  # torch.optim.swa_utils.AveragedModel adds this to its model
HEAD_KEY = re.compile(r"head(_dist)?\.")  # in timm; DeiT has a second head for distillation


@dataclass(frozen=True)
class Form:
    """A form is a way to publish encoders, with its own names for their tensors.

    Args:
        name: the name of the form in error messages.
        marker: the end of a key that only this form has; the text before it is the prefix of its
            tower.
        rules: the maps from our keys to those of the file. The first map that applies to a key
            counts; a key without a map is the same in the file.
        towers: the names of the tower inside its model. Text before such a name in a prefix, such
            as `module.`, precedes the keys of all other parts too.
        projection: the key of a vision tower's projection to the joint space, with `{prefix}` for
            the tower's prefix and `{outer}` for that of its model.
        heads: patterns of keys outside the tower that belong to a classifier's last layer.
        beside: patterns of keys outside the tower that are known to belong to other parts.
        ignored: patterns of keys inside the tower that are not its weights.
        outside: our keys that lie outside the tower.
    """

    name: str
    marker: str
    rules: tuple[KeyMap, ...]
    towers: tuple[str, ...]
    projection: str = ""
    heads: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    def prefixes(self, keys: Iterable[str]) -> list[str]:
        """Return the prefixes of the towers of this form in a file; none if it has another form."""
        pattern = re.compile(rf"(.*\.)?{re.escape(self.marker)}")
        found = [match[1] or "" for key in keys if (match := pattern.fullmatch(key))]
        return list(dict.fromkeys(found))

    def outer(self, prefix: str) -> str:
        """Return the prefix of a model, which is that of its tower without the tower's name.

        >>> HUGGING_FACE_CLIP.outer("module.vision_model.")
        'module.'
        """
        for name in self.towers:
            outer = prefix.removesuffix(name)
            if prefix.endswith(name) and (not outer or outer.endswith(".")):
                return outer
        return re.sub(r"[^.]*\.$", "", prefix)  # the author of a script chose the name

    def rule(self, key: str) -> tuple[tuple[str, ...], Make]:
        """Return the file's keys, without prefix, for one of ours, and how to make its tensor."""
        for rule in self.rules:
            if (keys := rule.keys(key)) is not None:
                return keys, rule.make
        return (key,), unchanged

    def undone(self, key: str, tensor: Tensor) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
        """Return the file's keys, without prefix, for one of ours, and the tensors for them."""
        keys, make = self.rule(key)
        return keys, undo(make, tensor, len(keys))

    def is_beside(self, key: str, prefix: str) -> bool:
        """Return whether a key is known to be no weight of the tower with this prefix."""
        if key.rpartition(".")[2] in COUNTERS:
            return True
        if key.startswith(prefix):
            return matches(self.ignored, key.removeprefix(prefix))
        outer = self.outer(prefix)
        return key.startswith(outer) and matches(self.beside, key.removeprefix(outer))

    def is_head(self, key: str, prefix: str) -> bool:
        """Return whether a key is of a classifier's last layer, inside this tower or next to it."""
        if key.startswith(prefix):
            return HEAD_KEY.match(key, len(prefix)) is not None
        outer = self.outer(prefix)
        return key.startswith(outer) and matches(self.heads, key.removeprefix(outer))


def matches(patterns: Iterable[str], key: str) -> bool:
    """Return whether one of the patterns matches the whole key."""
    return any(re.fullmatch(pattern, key) for pattern in patterns)


TIMM = Form(
    "timm",
    "patch_embed.proj.weight",
    (),
    towers=("visual.trunk.",),  # open_clip's name for it
    projection="{prefix}head.weight",
    heads=(r"(heads?|classifier|fc|linear)\..*",),
    beside=(r"text\..*", r"logit_.*"),
    ignored=(r"mask_token",),  # DINOv2 replaces patches by it, in training alone
)

# Meta's files have a position embedding of the class token, which timm adds to that token.
DINOV2_WITH_REGISTERS = Form(
    "DINOv2 with registers",
    "register_tokens",
    (
        KeyMap(r"reg_token", (r"register_tokens",)),
        KeyMap(r"cls_token", (r"cls_token", r"pos_embed"), with_first_place),
        KeyMap(r"pos_embed", (r"pos_embed",), without_first_place),
    ),
    towers=(),
    projection=TIMM.projection,
    heads=TIMM.heads,
    ignored=TIMM.ignored,
)

HUGGING_FACE_CLIP = Form(
    "Hugging Face CLIP",
    "embeddings.class_embedding",
    (
        KeyMap(r"cls_token", (r"embeddings.class_embedding",), as_token),
        KeyMap(r"pos_embed", (r"embeddings.position_embedding.weight",), with_batch),
        KeyMap(r"patch_embed\.proj\.(.*)", (r"embeddings.patch_embedding.\1",)),
        KeyMap(r"norm_pre\.(.*)", (r"pre_layrnorm.\1",)),  # their spelling
        KeyMap(r"norm\.(.*)", (r"post_layernorm.\1",)),
        KeyMap(r"blocks\.(\d+)\.norm([12])\.(.*)", (r"encoder.layers.\1.layer_norm\2.\3",)),
        KeyMap(
            r"blocks\.(\d+)\.attn\.qkv\.(.*)",
            tuple(rf"encoder.layers.\1.self_attn.{part}_proj.\2" for part in "qkv"),
            stacked,
        ),
        KeyMap(r"blocks\.(\d+)\.attn\.proj\.(.*)", (r"encoder.layers.\1.self_attn.out_proj.\2",)),
        KeyMap(r"blocks\.(\d+)\.mlp\.(.*)", (r"encoder.layers.\1.mlp.\2",)),
    ),
    towers=("vision_model.",),
    projection="{outer}visual_projection.weight",
    beside=(r"text_model\..*", r"text_projection\.weight", r"logit_scale"),
    ignored=(r"embeddings\.position_ids",),
)

OPEN_CLIP = Form(
    "open_clip",
    "ln_pre.weight",
    (
        KeyMap(r"cls_token", (r"class_embedding",), as_token),
        KeyMap(r"pos_embed", (r"positional_embedding",), with_batch),
        KeyMap(r"patch_embed\.proj\.(.*)", (r"conv1.\1",)),
        KeyMap(r"norm_pre\.(.*)", (r"ln_pre.\1",)),
        KeyMap(r"norm\.(.*)", (r"ln_post.\1",)),
        KeyMap(r"blocks\.(\d+)\.norm([12])\.(.*)", (r"transformer.resblocks.\1.ln_\2.\3",)),
        KeyMap(r"blocks\.(\d+)\.attn\.qkv\.(.*)", (r"transformer.resblocks.\1.attn.in_proj_\2",)),
        KeyMap(r"blocks\.(\d+)\.attn\.proj\.(.*)", (r"transformer.resblocks.\1.attn.out_proj.\2",)),
        KeyMap(r"blocks\.(\d+)\.mlp\.fc1\.(.*)", (r"transformer.resblocks.\1.mlp.c_fc.\2",)),
        KeyMap(r"blocks\.(\d+)\.mlp\.fc2\.(.*)", (r"transformer.resblocks.\1.mlp.c_proj.\2",)),
        KeyMap(r"head\.weight", (r"proj",), transposed),
    ),
    towers=("visual.",),
    projection="{prefix}proj",
    beside=(
        r"(transformer|token_embedding|ln_final|text)\..*",
        r"(positional_embedding|text_projection|logit_scale|logit_bias|attn_mask)",
        # OpenAI's archives hold these facts about the model among its weights.
        r"(input_resolution|context_length|vocab_size)",
    ),
)

VISION_FORMS: Sequence[Form] = (DINOV2_WITH_REGISTERS, TIMM, HUGGING_FACE_CLIP, OPEN_CLIP)

VISION = (
    r"(.*\.)?(vision_model|visual)\..*",
    r"visual_projection\.weight",
    r"(.*\.)?(position_ids|attn_mask)",
    r"(.*\.)?(input_resolution|context_length|vocab_size)",
)

BLOCK, LAYER = r"transformer\.resblocks\.(\d+)", r"text_model.encoder.layers.\1"
# The forms of text towers map the keys of open_clip to those of a file.
HUGGING_FACE_TEXT = Form(
    "Hugging Face CLIP",
    "text_model.embeddings.token_embedding.weight",
    (
        KeyMap(r"token_embedding\.(.*)", (r"text_model.embeddings.token_embedding.\1",)),
        KeyMap(r"positional_embedding", (r"text_model.embeddings.position_embedding.weight",)),
        KeyMap(rf"{BLOCK}\.ln_([12])\.(.*)", (rf"{LAYER}.layer_norm\2.\3",)),
        KeyMap(
            rf"{BLOCK}\.attn\.in_proj_(.*)",
            tuple(rf"{LAYER}.self_attn.{part}_proj.\2" for part in "qkv"),
            stacked,
        ),
        KeyMap(rf"{BLOCK}\.attn\.out_proj\.(.*)", (rf"{LAYER}.self_attn.out_proj.\2",)),
        KeyMap(rf"{BLOCK}\.mlp\.c_fc\.(.*)", (rf"{LAYER}.mlp.fc1.\2",)),
        KeyMap(rf"{BLOCK}\.mlp\.c_proj\.(.*)", (rf"{LAYER}.mlp.fc2.\2",)),
        KeyMap(r"ln_final\.(.*)", (r"text_model.final_layer_norm.\1",)),
        KeyMap(r"text_projection", (r"text_projection.weight",), transposed),
    ),
    towers=("",),
    beside=VISION,
    ignored=VISION,
    outside=("logit_scale",),
)
OPEN_CLIP_TEXT = Form(
    "open_clip",
    "token_embedding.weight",
    (),
    towers=("text.", ""),
    beside=VISION,
    ignored=VISION,
    outside=("logit_scale",),
)
TEXT_FORMS: Sequence[Form] = (HUGGING_FACE_TEXT, OPEN_CLIP_TEXT)


def recognise(
    keys: Iterable[str], forms: Sequence[Form] = VISION_FORMS
) -> tuple[Form, list[str]] | None:
    """Return the form of a file with these keys and the prefixes of its towers; None if unknown.

    >>> recognise(["model.visual.conv1.weight", "model.visual.ln_pre.weight"])[1]
    ['model.visual.']
    """
    names = list(keys)
    for form in forms:
        if prefixes := form.prefixes(names):
            return form, prefixes
    return None

"""The forms in which encoders are published, recognised by their keys, and timm's keys for them.

A form says, for every tensor of a vision transformer of timm's (or a text tower of open_clip's),
which tensors of the file it is made of.
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

COUNTERS = ("n_averaged",)  # what torch.optim.swa_utils.AveragedModel keeps beside its model
HEAD_KEY = re.compile(r"head(_dist)?\.")  # of timm's encoders; DeiT has one for distillation too


@dataclass(frozen=True)
class Form:
    """A form of published encoders.

    Args:
        name: what errors call it.
        marker: the end of a key that only this form has; what stands before it is the prefix of
            its tower.
        rules: for every key of ours, in this order; without a rule it is the same.
        towers: the names of the tower inside its model. What precedes them in a prefix, such as
            `module.`, precedes the keys of all other parts too.
        projection: of a vision tower to the joint space, with `{prefix}` for the tower's prefix and
            `{outer}` for that of its model.
        heads: patterns of keys outside the tower, of a classifier's last layer.
        beside: patterns of keys outside the tower, known to be of other parts.
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
        """The prefix of every tower of this form in a file; none if it is not of this form."""
        pattern = re.compile(rf"(.*\.)?{re.escape(self.marker)}")
        found = [match[1] or "" for key in keys if (match := pattern.fullmatch(key))]
        return list(dict.fromkeys(found))

    def outer(self, prefix: str) -> str:
        """The prefix of a model, which is that of its tower without the tower's own name.

        >>> HUGGING_FACE_CLIP.outer("module.vision_model.")
        'module.'
        """
        for name in self.towers:
            outer = prefix.removesuffix(name)
            if prefix.endswith(name) and (not outer or outer.endswith(".")):
                return outer
        return re.sub(r"[^.]*\.$", "", prefix)  # a name that the author of a script chose

    def rule(self, key: str) -> tuple[tuple[str, ...], Make]:
        """The file's keys, without prefix, for one of ours, and how it is made of them."""
        for rule in self.rules:
            if (keys := rule.keys(key)) is not None:
                return keys, rule.make
        return (key,), unchanged

    def undone(self, key: str, tensor: Tensor) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
        """The file's keys, without prefix, for one of ours, and the tensors that they have."""
        keys, make = self.rule(key)
        return keys, undo(make, tensor, len(keys))

    def is_beside(self, key: str, prefix: str) -> bool:
        """Is it known that a key has no part in the tower of this prefix?"""
        if key.rpartition(".")[2] in COUNTERS:
            return True
        if key.startswith(prefix):
            return matches(self.ignored, key.removeprefix(prefix))
        outer = self.outer(prefix)
        return key.startswith(outer) and matches(self.beside, key.removeprefix(outer))

    def is_head(self, key: str, prefix: str) -> bool:
        """Is a key of a classifier's last layer, inside the tower of this prefix or beside it?"""
        if key.startswith(prefix):
            return HEAD_KEY.match(key, len(prefix)) is not None
        outer = self.outer(prefix)
        return key.startswith(outer) and matches(self.heads, key.removeprefix(outer))


def matches(patterns: Iterable[str], key: str) -> bool:
    """Is a key one of those that the patterns are about?"""
    return any(re.fullmatch(pattern, key) for pattern in patterns)


TIMM = Form(
    "timm",
    "patch_embed.proj.weight",
    (),
    towers=("visual.trunk.",),  # of open_clip
    projection="{prefix}head.weight",
    heads=(r"(heads?|classifier|fc|linear)\..*",),
    beside=(r"text\..*", r"logit_.*"),
    ignored=(r"mask_token",),  # of DINOv2, which takes the place of patches in training alone
)

# As Meta publishes it, with a place for the class token, which timm has added to that token.
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
        # What OpenAI's archives say of themselves.
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
# Text towers, with the keys of open_clip as ours.
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
    """The form of a file with these keys and the prefixes of its towers; None if unknown.

    >>> recognise(["model.visual.conv1.weight", "model.visual.ln_pre.weight"])[1]
    ['model.visual.']
    """
    names = list(keys)
    for form in forms:
        if prefixes := form.prefixes(names):
            return form, prefixes
    return None

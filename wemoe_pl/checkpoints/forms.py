"""The forms in which encoders are published, recognised by their keys, and timm's keys for them.

A form says, for every tensor of a vision transformer of timm's (or a text tower of open_clip's),
which tensors of the file it is made of.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Make = Callable[..., Tensor]


def unchanged(tensor: Tensor) -> Tensor:
    """A tensor that stays as it is."""
    return tensor


def stacked(*tensors: Tensor) -> Tensor:
    """Tensors one after the other along the first dimension, such as q, k and v."""
    return torch.cat(tensors)


def as_token(tensor: Tensor) -> Tensor:
    """(D,) → (1, 1, D)."""
    return tensor.reshape(1, 1, -1)


def with_batch(tensor: Tensor) -> Tensor:
    """(N, D) → (1, N, D)."""
    return tensor.unsqueeze(0)


def transposed(tensor: Tensor) -> Tensor:
    """(D, E) → (E, D)."""
    return tensor.T


def undo(make: Make, tensor: Tensor, count: int) -> tuple[Tensor, ...]:
    """The tensors, `count` of them, of which one of these functions made a tensor.

    >>> [part.tolist() for part in undo(stacked, torch.arange(6), 3)]
    [[0, 1], [2, 3], [4, 5]]
    """
    if make is stacked:
        return tensor.chunk(count)
    inverse: dict[Make, Make] = {
        unchanged: unchanged,
        as_token: torch.flatten,
        with_batch: lambda batch: batch.squeeze(0),
        transposed: transposed,
    }
    return (inverse[make](tensor),)


@dataclass(frozen=True)
class KeyMap:
    r"""The recipe by which a tensor of timm's encoder is made from published ones.

    Args:
        ours: pattern of our keys: timm's for vision, open_clip's for text.
        theirs: templates of the keys in the file, with the groups of the pattern as `\1`, `\2`.
        make: what is done to those tensors.
    """

    ours: str
    theirs: tuple[str, ...]
    make: Make = unchanged

    def keys(self, key: str) -> tuple[str, ...] | None:
        """The file's keys for one of ours, or None if the rule is not about it."""
        found = re.fullmatch(self.ours, key)
        return tuple(found.expand(template) for template in self.theirs) if found else None


@dataclass(frozen=True)
class Form:
    """A form of published encoders.

    Args:
        name: what errors call it.
        marker: the end of a key that only this form has; what stands before it is the prefix of
            its tower.
        rules: for every key of ours, in this order; without a rule it is the same.
        projection: of a vision tower to the joint space, with `{prefix}` for the prefix.
        beside: patterns of keys outside the tower, known to be of other parts.
        ignored: patterns of keys that start with the tower's prefix and are not its weights.
    """

    name: str
    marker: str
    rules: tuple[KeyMap, ...]
    projection: str = ""
    beside: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def prefix(self, keys: Iterable[str]) -> str | None:
        """Return the text before the keys of the vision tower; None in another form."""
        pattern = re.compile(rf"(.*\.)?{re.escape(self.marker)}")
        return next((found[1] or "" for k in keys if (found := pattern.fullmatch(k))), None)

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
        known = self.ignored if key.startswith(prefix) else self.beside
        return any(re.fullmatch(pattern, key) for pattern in known)


TIMM = Form(
    "timm", "patch_embed.proj.weight", (), "{prefix}head.weight", (r"text\..*", r"logit_.*")
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
    "visual_projection.weight",
    (r"text_model\..*", r"text_projection\.weight", r"logit_scale"),
    (r"(.*\.)?embeddings\.position_ids",),
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
    "{prefix}proj",
    (
        r"(.*\.)?(transformer|token_embedding|ln_final|text)\..*",
        r"(.*\.)?(positional_embedding|text_projection|logit_scale|logit_bias|attn_mask)",
        # What OpenAI's archives say of themselves.
        r"(input_resolution|context_length|vocab_size)",
    ),
)

VISION_FORMS: Sequence[Form] = (TIMM, HUGGING_FACE_CLIP, OPEN_CLIP)

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
    beside=VISION,
    ignored=VISION,
)
OPEN_CLIP_TEXT = Form("open_clip", "token_embedding.weight", (), beside=VISION, ignored=VISION)
TEXT_FORMS: Sequence[Form] = (HUGGING_FACE_TEXT, OPEN_CLIP_TEXT)


def recognise(keys: Iterable[str], forms: Sequence[Form] = VISION_FORMS) -> tuple[Form, str] | None:
    """The form of a file with these keys and the prefix of the tower in it; None if unknown.

    >>> recognise(["model.visual.conv1.weight", "model.visual.ln_pre.weight"])[1]
    'model.visual.'
    """
    names = list(keys)
    for form in forms:
        if (prefix := form.prefix(names)) is not None:
            return form, prefix
    return None

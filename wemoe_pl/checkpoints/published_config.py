"""Read the configs that Hugging Face, open_clip and timm publish next to weights."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm

from wemoe_pl.checkpoints.backbone import Backbone
from wemoe_pl.checkpoints.config_part import ConfigPart
from wemoe_pl.checkpoints.forms import (
    HUGGING_FACE_CLIP,
    HUGGING_FACE_TEXT,
    OPEN_CLIP,
    OPEN_CLIP_TEXT,
    TIMM,
    Form,
)
from wemoe_pl.checkpoints.hyperparameters import (
    ACTIVATION,
    ATTENTION_HEADS,
    CAUSAL,
    EPSILON,
    IMAGE_SIZE,
    MASK,
    PATCH_SIZE,
    POOLING,
    PROJECTION_WIDTH,
    TANH_GELU,
    Hyperparameters,
    encoder_hyperparameters,
    pooling_name,
)
from wemoe_pl.errors import ConfigError

SYNONYMS = {
    "swish": "silu", "gelu_python": "gelu", "gelu_new": TANH_GELU, "gelu_fast": TANH_GELU,
    "gelu_accurate": TANH_GELU, "gelu_python_tanh": TANH_GELU,
}  # fmt: skip
# The timm arguments that hyperparameters depend on; a stranger's config can set no others.
ARGUMENTS = (
    "img_size", "patch_size", "embed_dim", "num_heads", "act_layer", "global_pool", "fc_norm",
)  # fmt: skip
QUICK_NOTE = "natively QuickGELU"  # in timm's notes on weights for another activation
LARGEST = 10**5  # above any sensible value of these arguments


def published_hyperparameters(path: Path, form: Form) -> Hyperparameters:
    """Return the hyperparameters that a config tells of the weights next to it.

    Args:
        path: the config.
        form: the form of the weights. A config for another form tells nothing about them.

    Raises:
        CheckpointError: the config is no JSON, or a value in it has a wrong type.
    """
    reader = READERS.get((path.name, form))
    return reader(ConfigPart.read(path)) if reader else {}


def hugging_face_vision(config: ConfigPart) -> Hyperparameters:
    """Read the hyperparameters in a `transformers.CLIPVisionConfig`, with its defaults."""
    tower = hugging_face_tower(config, "vision")
    if tower is None:
        return {}
    return {
        **hugging_face_blocks(tower, heads=12),
        IMAGE_SIZE: tower.size("image_size", 224),
        PATCH_SIZE: tower.size("patch_size", 32),
        PROJECTION_WIDTH: config.count("projection_dim", 512),
    }


def hugging_face_text(config: ConfigPart) -> Hyperparameters:
    """Read the hyperparameters in a `transformers.CLIPTextConfig`, with its defaults."""
    tower = hugging_face_tower(config, "text")
    return {} if tower is None else {**hugging_face_blocks(tower, heads=8), MASK: CAUSAL}


def hugging_face_tower(config: ConfigPart, kind: str) -> ConfigPart | None:
    """Return the part of a config about the vision or text tower of CLIP; None if there is none.

    Older versions of transformers wrote it twice, and prefer the values in `…_config_dict`.
    """
    if config.text("model_type", "") == f"clip_{kind}_model":
        return config
    if config.text("model_type", "") != "clip" and f"{kind}_config" not in config.values:
        return None
    parts = [config.part(f"{kind}_config"), config.part(f"{kind}_config_dict")]
    return ConfigPart(config.path, {**parts[0].values, **parts[1].values})


def hugging_face_blocks(tower: ConfigPart, heads: int) -> dict[str, str | float]:
    """Read the hyperparameters that vision and text towers of Hugging Face have in common."""
    activation = tower.text("hidden_act", "quick_gelu")
    return {
        ACTIVATION: SYNONYMS.get(activation, activation),
        ATTENTION_HEADS: tower.count("num_attention_heads", heads),
        EPSILON: tower.number("layer_norm_eps", 1e-5),
    }


def open_clip_vision(config: ConfigPart) -> Hyperparameters:
    """Read the hyperparameters in open_clip's `CLIPVisionCfg`, with its defaults."""
    model = open_clip_model(config)
    tower = model.part("vision_cfg")
    if not tower.values or tower.values.get("timm_model_name"):
        return {}
    return {
        **open_clip_blocks(model, tower),
        ATTENTION_HEADS: tower.count("width", 768) // tower.count("head_width", 64),
        IMAGE_SIZE: tower.size("image_size", 224),
        PATCH_SIZE: tower.size("patch_size", 16),
        PROJECTION_WIDTH: model.count("embed_dim", 512),
        POOLING: pooling_name(tower.text("pool_type", "tok"), tower.flag("final_ln_after_pool")),
    }


def open_clip_trunk(config: ConfigPart) -> Hyperparameters:
    """Read the hyperparameters of the timm model that is the vision tower of an open_clip model."""
    tower = open_clip_model(config).part("vision_cfg")
    name = tower.text("timm_model_name", "")
    return timm_defaults(name, {}, (ACTIVATION, ATTENTION_HEADS, EPSILON)) if name else {}


def open_clip_text(config: ConfigPart) -> Hyperparameters:
    """Read the hyperparameters in open_clip's `CLIPTextCfg`, with its defaults."""
    model = open_clip_model(config)
    tower = model.part("text_cfg")
    if not tower.values or tower.values.get("hf_model_name"):
        return {}
    return {
        **open_clip_blocks(model, tower),
        ATTENTION_HEADS: tower.count("heads", 8),
        POOLING: tower.text("pool_type", "argmax"),
        MASK: "none" if tower.flag("no_causal_mask") else CAUSAL,
    }


def open_clip_model(config: ConfigPart) -> ConfigPart:
    """Return the part of a config that describes the model: all of it in open_clip's own files."""
    return config.part("model_cfg") if "model_cfg" in config.values else config


def open_clip_blocks(model: ConfigPart, tower: ConfigPart) -> dict[str, str | float]:
    """Read the hyperparameters that vision and text towers of open_clip have in common."""
    is_tanh = tower.part("act_kwargs").text("approximate", "none") == "tanh"
    plain = TANH_GELU if is_tanh else "gelu"
    return {
        ACTIVATION: "quick_gelu" if model.flag("quick_gelu") else plain,
        EPSILON: tower.part("norm_kwargs").number("eps", 1e-5),
    }


def timm_vision(config: ConfigPart) -> Hyperparameters:
    """Read the hyperparameters of the architecture that a timm config names, with its arguments.

    Weights that timm took over from OpenAI need the quick GELU, whichever architecture their
    config names: timm says so in its notes on them.
    """
    name = config.text("architecture", "")
    arguments = config.part("model_args").values
    found = timm_defaults(name, arguments, (ACTIVATION, ATTENTION_HEADS, EPSILON, POOLING))
    tag = config.part("pretrained_cfg").text("tag", "")
    if found and any(QUICK_NOTE in note for note in timm_notes(name, tag)):
        return {**found, ACTIVATION: "quick_gelu"}
    return found


def timm_notes(name: str, tag: str) -> Sequence[str]:
    """Return timm's notes on the weights that it publishes for a model under a tag; often none."""
    try:
        published = timm.models.get_pretrained_cfg(f"{name.partition('.')[0]}.{tag}")
    except RuntimeError:  # there is no such tag
        return ()
    return (published and published.notes) or ()


def timm_defaults(
    name: str, arguments: Mapping[str, Any], wanted: Collection[str]
) -> Hyperparameters:
    """Return hyperparameters of a timm model; none if timm does not know or cannot build it.

    Args:
        name: the name of the model.
        arguments: the arguments of `timm.create_model`; only harmless ones are used.
        wanted: the names of the hyperparameters.
    """
    used = {name: arguments[name] for name in ARGUMENTS if is_harmless(arguments.get(name))}
    try:
        encoder = Backbone(name, {**used, "depth": 1}).skeleton()
    except ConfigError:
        return {}
    found = encoder_hyperparameters(encoder)
    return {name: found[name] for name in wanted if name in found}


def is_harmless(value: object) -> bool:
    """Return whether an argument cannot make a model too large for a computer to describe."""
    return isinstance(value, str | bool) or (isinstance(value, int) and 0 < value < LARGEST)


ConfigReader = Callable[[ConfigPart], Hyperparameters]
READERS: dict[tuple[str, Form], ConfigReader] = {
    ("config.json", HUGGING_FACE_CLIP): hugging_face_vision,
    ("config.json", HUGGING_FACE_TEXT): hugging_face_text,
    ("config.json", TIMM): timm_vision,
    ("open_clip_config.json", TIMM): open_clip_trunk,
    ("open_clip_config.json", OPEN_CLIP): open_clip_vision,
    ("open_clip_config.json", OPEN_CLIP_TEXT): open_clip_text,
}

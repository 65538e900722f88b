"""What published configs mean is what the programs that wrote them compute."""

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from wemoe_pl.checkpoints.forms import (
    HUGGING_FACE_CLIP,
    HUGGING_FACE_TEXT,
    OPEN_CLIP,
    OPEN_CLIP_TEXT,
    TIMM,
    Form,
)
from wemoe_pl.checkpoints.hyperparameters import (
    encoder_hyperparameters,
    text_hyperparameters,
)
from wemoe_pl.checkpoints.published_config import READERS, published_hyperparameters
from wemoe_pl.errors import CheckpointError

transformers = pytest.importorskip("transformers")

ACTIVATION, HEADS, EPS = "activation", "number of attention heads", "epsilon of the layer norms"
SIZES = ("image size", "patch size", "projection width")
VISION = {"hidden_size": 96, "num_attention_heads": 6, "hidden_act": "gelu", "layer_norm_eps": 1e-6}


@pytest.fixture
def read_config(tmp_path: Path) -> Any:
    """`read_config(form, content, name)`: what a config of this content tells."""

    def read(form: Form, content: object, name: str = "config.json") -> dict[str, Any]:
        (tmp_path / name).write_text(json.dumps(content))
        return dict(published_hyperparameters(tmp_path / name, form))

    return read


# --- Hugging Face ----------------------------------------------------------------------------


def test_of_an_empty_config_the_defaults_are_those_of_transformers(read_config: Any) -> None:
    vision, text = transformers.CLIPVisionConfig(), transformers.CLIPTextConfig()
    found = read_config(HUGGING_FACE_CLIP, {"model_type": "clip_vision_model"})
    assert found == {
        ACTIVATION: vision.hidden_act,
        HEADS: vision.num_attention_heads,
        EPS: vision.layer_norm_eps,
        **dict(
            zip(SIZES, (vision.image_size, vision.patch_size, vision.projection_dim), strict=True)
        ),
    }
    found = read_config(HUGGING_FACE_TEXT, {"model_type": "clip"})
    assert found == {
        ACTIVATION: text.hidden_act,
        HEADS: text.num_attention_heads,
        EPS: text.layer_norm_eps,
        "attention mask": "causal",
    }


@pytest.mark.parametrize("kind", ["CLIPVisionConfig", "CLIPConfig"])
def test_a_config_that_transformers_writes_is_read(
    kind: str, read_config: Any, tmp_path: Path
) -> None:
    if kind == "CLIPConfig":
        config = transformers.CLIPConfig(vision_config=VISION, projection_dim=24)
    else:
        config = transformers.CLIPVisionConfig(**VISION, projection_dim=24)
    config.save_pretrained(tmp_path)
    found = dict(published_hyperparameters(tmp_path / "config.json", HUGGING_FACE_CLIP))
    assert (found[ACTIVATION], found[HEADS], found[EPS]) == ("gelu", 6, 1e-6)
    assert [found[size] for size in SIZES] == [224, 32, 24]


def test_of_the_two_towers_each_has_its_own(read_config: Any) -> None:
    config = {
        "model_type": "clip",
        "vision_config": VISION,
        "text_config": {"hidden_act": "gelu_new", "num_attention_heads": 2},
    }
    assert read_config(HUGGING_FACE_CLIP, config)[HEADS] == 6
    assert read_config(HUGGING_FACE_TEXT, config)[HEADS] == 2
    assert read_config(HUGGING_FACE_TEXT, config)[ACTIVATION] == "gelu_pytorch_tanh"


def test_what_older_versions_wrote_twice_is_what_they_take(read_config: Any) -> None:
    config = {
        "model_type": "clip",
        "vision_config": {"hidden_act": "quick_gelu", "image_size": 336},
        "vision_config_dict": {"hidden_act": "gelu"},
    }
    found = read_config(HUGGING_FACE_CLIP, config)
    assert (found[ACTIVATION], found["image size"]) == ("gelu", 336)


@pytest.mark.parametrize("content", [{}, {"lr": 0.1}, {"model_type": "bert", "hidden_act": "gelu"}])
def test_a_config_of_something_else_tells_nothing(content: object, read_config: Any) -> None:
    assert read_config(HUGGING_FACE_CLIP, content) == read_config(HUGGING_FACE_TEXT, content) == {}
    assert read_config(TIMM, content) == {}


# --- open_clip -------------------------------------------------------------------------------

NAMES = ["ViT-B-32", "ViT-B-32-quickgelu", "ViT-L-14", "ViT-L-14-CLIPA", "ViT-bigG-14-quickgelu"]


@pytest.mark.parametrize("name", [n for n in NAMES if n in open_clip.list_models()])
@pytest.mark.parametrize("nested", [True, False])
def test_open_clips_own_models_are_what_their_configs_tell(
    nested: bool, name: str, read_config: Any
) -> None:
    config = open_clip.get_model_config(name)
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 1
    content = {"model_cfg": config, "preprocess_cfg": {}} if nested else config
    with torch.device("meta"):
        model = open_clip.model.CLIP(**config)
    found = read_config(OPEN_CLIP_TEXT, content, "open_clip_config.json")
    assert found == dict(text_hyperparameters(open_clip_text_tower(config)))
    found = read_config(OPEN_CLIP, content, "open_clip_config.json")
    block = model.visual.transformer.resblocks[0]
    assert found[HEADS] == block.attn.num_heads
    assert found[EPS] == block.ln_1.eps
    assert found["image size"] == model.visual.image_size[0]
    assert found["patch size"] == model.visual.patch_size[0]
    assert found["projection width"] == model.visual.output_dim
    assert (found[ACTIVATION] == "quick_gelu") == ("Quick" in type(block.mlp.gelu).__name__)
    pooled = "mean before the norm" if "CLIPA" in name else "class token"
    assert found["pooling"] == pooled


def open_clip_text_tower(config: dict[str, Any]) -> Any:
    """The text tower that open_clip builds of a config."""
    with torch.device("meta"):
        return open_clip.model._build_text_tower(
            config["embed_dim"], config["text_cfg"], config.get("quick_gelu", False)
        )


def test_a_pooling_that_is_not_clips_is_told(read_config: Any) -> None:
    vision = {
        "pool_type": "avg",
        "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"},
    }
    found = read_config(OPEN_CLIP, {"embed_dim": 8, "vision_cfg": vision}, "open_clip_config.json")
    assert found["pooling"] == "mean after the norm"
    assert (found[EPS], found[ACTIVATION]) == (1e-6, "gelu_pytorch_tanh")
    defaults = asdict(open_clip.CLIPVisionCfg())
    assert (found["image size"], found["patch size"]) == (
        defaults["image_size"],
        defaults["patch_size"],
    )


def test_a_tower_of_timm_in_a_model_of_open_clip(read_config: Any) -> None:
    config = open_clip.get_model_config("ViT-B-16-SigLIP")
    found = read_config(TIMM, {"model_cfg": config}, "open_clip_config.json")
    assert found == {ACTIVATION: "gelu", HEADS: 12, EPS: 1e-6}
    assert read_config(OPEN_CLIP, {"model_cfg": config}, "open_clip_config.json") == {}
    config["text_cfg"]["hf_model_name"] = "roberta-base"
    assert read_config(OPEN_CLIP_TEXT, {"model_cfg": config}, "open_clip_config.json") == {}


# --- timm ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vit_tiny_patch16_224", {}),
        ("vit_tiny_patch16_224", {"num_heads": 6, "global_pool": "avg", "act_layer": "silu"}),
        ("vit_base_patch32_clip_quickgelu_224", {"img_size": 64, "patch_size": 16}),
        ("eva02_tiny_patch14_224", {}),
        ("vit_small_patch14_reg4_dinov2", {"depth": 100_000}),
    ],
)
def test_an_architecture_of_timm_is_what_it_builds(
    name: str, arguments: dict[str, Any], read_config: Any
) -> None:
    found = read_config(TIMM, {"architecture": name, "num_classes": 5, "model_args": arguments})
    with torch.device("meta"):
        model = timm.create_model(name, **{**arguments, "depth": 1})
    built = encoder_hyperparameters(model)
    assert found == {key: built[key] for key in (ACTIVATION, HEADS, EPS, "pooling")}


def test_weights_that_timm_took_from_openai_belong_to_the_quick_gelu(read_config: Any) -> None:
    config = {"architecture": "vit_base_patch32_clip_224", "pretrained_cfg": {"tag": "openai"}}
    assert read_config(TIMM, config)[ACTIVATION] == "quick_gelu"
    for tag in ("laion2b", "no_such_tag", "a.b/../c", ""):
        config["pretrained_cfg"] = {"tag": tag}
        assert read_config(TIMM, config)[ACTIVATION] == "gelu"


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "no_such_model"},
        {"architecture": "local-dir:/etc"},
        {"architecture": "vit_tiny_patch16_224", "model_args": {"num_heads": 10**9}},
        {"architecture": "vit_tiny_patch16_224", "model_args": {"act_layer": "os.system"}},
    ],
)
def test_of_what_timm_cannot_build_nothing_is_told(config: object, read_config: Any) -> None:
    found = read_config(TIMM, config)
    assert found in ({}, read_config(TIMM, {"architecture": "vit_tiny_patch16_224"}))


# --- anything --------------------------------------------------------------------------------

KEYS = st.sampled_from([
    "model_type", "vision_config", "vision_config_dict", "text_config", "hidden_act", "image_size",
    "num_attention_heads", "layer_norm_eps", "projection_dim", "model_cfg", "vision_cfg", "width",
    "text_cfg", "head_width", "quick_gelu", "act_kwargs", "norm_kwargs", "eps", "pool_type",
    "architecture", "model_args", "img_size", "num_heads", "pretrained_cfg", "tag", "act_layer",
])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
NAMED = st.sampled_from(["clip", "clip_vision_model", "gelu", "avg", "vit_tiny_patch16_224"])
ANYTHING = st.recursive(
    LEAVES | NAMED,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, ANYTHING, max_size=8))
def test_no_config_ends_in_anything_but_a_sentence(content: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        for name, form in READERS:
            path = Path(folder) / name
            path.write_text(json.dumps(content))
            with suppress(CheckpointError):
                found = published_hyperparameters(path, form)
                assert all(isinstance(value, str | int | float) for value in found.values())

"""Encoders of every published form compute what the program computes that wrote them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from wemoe_pl.checkpoints import Backbone, load_encoder
from wemoe_pl.checkpoints.forms import HUGGING_FACE_CLIP, OPEN_CLIP, TIMM, VISION_FORMS, recognise
from wemoe_pl.errors import CheckpointError

transformers = pytest.importorskip("transformers")

EMBED = 32
CLIP = "vit_base_patch32_clip_quickgelu_224.openai"
TINY = {"embed_dim": 64, "depth": 2, "num_heads": 4, "img_size": 64, "patch_size": 16}
PROJECTED = Backbone(CLIP, {**TINY, "num_classes": EMBED})
POOLED = Backbone(CLIP, TINY)
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
VISION = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 16,
    "hidden_act": "quick_gelu",
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
}


def randomised(model: Any, seed: int = 1, std: float = 0.15) -> Any:
    """Every parameter drawn anew: models start with biases of 0 and norms of 1, which hide much."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        nn.init.normal_(weight, std=std, generator=generator)
    return model.eval()


def difference(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    return (actual - expected).abs().max().item()


@torch.no_grad()
def features(source: Path, backbone: Backbone, projection: Path | None = None) -> Tensor:
    encoder = load_encoder(str(source), backbone, str(projection) if projection else None)
    result: Tensor = encoder(IMAGES)
    assert 0.05 < result.std().item() < 50  # differences would show
    return result


# --- Hugging Face's CLIP ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def hf() -> Any:
    """A whole CLIP model."""
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=EMBED)
    return randomised(transformers.CLIPModel(config))


@pytest.fixture(scope="module")
def hf_projected(hf: Any) -> Tensor:
    with torch.no_grad():
        found = hf.get_image_features(pixel_values=IMAGES)
    projected: Tensor = getattr(found, "pooler_output", found)
    return projected


@pytest.fixture(scope="module")
def hf_pooled(hf: Any) -> Tensor:
    with torch.no_grad():
        pooled: Tensor = hf.vision_model(pixel_values=IMAGES).pooler_output
    return pooled


def write_folder(model: Any, path: Path) -> None:
    model.save_pretrained(path)


def write_sharded_folder(model: Any, path: Path) -> None:
    model.save_pretrained(path, max_shard_size="1MB")
    assert len(list(path.glob("model-*-of-*.safetensors"))) > 1


def write_safetensors(model: Any, path: Path) -> None:
    save_file(dict(model.state_dict()), path)


def write_bin(model: Any, path: Path) -> None:
    torch.save(model.state_dict(), path)


def write_with_position_ids(model: Any, path: Path) -> None:
    """As older versions of transformers do."""
    ids = {
        f"{tower}_model.embeddings.position_ids": torch.arange(9)[None]
        for tower in ("text", "vision")
    }
    save_file({**model.state_dict(), **ids}, path)


@pytest.mark.parametrize(
    "write",
    [
        write_folder,
        write_sharded_folder,
        write_safetensors,
        write_bin,
        write_with_position_ids,
    ],
)
def test_clip_of_transformers_is_equal(
    write: Callable[[Any, Path], None],
    hf: Any,
    hf_projected: Tensor,
    hf_pooled: Tensor,
    tmp_path: Path,
) -> None:
    write(hf, tmp_path / "clip")
    assert difference(features(tmp_path / "clip", PROJECTED), hf_projected) <= 1e-5
    assert difference(features(tmp_path / "clip", POOLED), hf_pooled) <= 1e-5


@pytest.mark.parametrize("prefix", ["", "vision_model."])
@pytest.mark.parametrize("save", [save_file, torch.save])
def test_a_vision_tower_of_transformers_is_equal(
    save: Callable[[object, Path], None], prefix: str, tmp_path: Path
) -> None:
    """Newer versions write no prefix, older ones `vision_model.`."""
    model = randomised(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**VISION)))
    tower = {k.removeprefix("vision_model."): w for k, w in model.state_dict().items()}
    save({prefix + key: weight for key, weight in tower.items()}, tmp_path / "tower")
    with torch.no_grad():
        expected = model(pixel_values=IMAGES).pooler_output
    assert difference(features(tmp_path / "tower", POOLED), expected) <= 1e-5


def test_a_vision_tower_as_transformers_saves_it_is_equal(tmp_path: Path) -> None:
    model = randomised(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**VISION)))
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(pixel_values=IMAGES).pooler_output
    assert difference(features(tmp_path, POOLED), expected) <= 1e-5


def test_a_vision_tower_with_a_projection_of_its_own_is_equal(tmp_path: Path) -> None:
    config = transformers.CLIPVisionConfig(**VISION, projection_dim=EMBED)
    model = randomised(transformers.CLIPVisionModelWithProjection(config))
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(pixel_values=IMAGES).image_embeds
    assert difference(features(tmp_path, PROJECTED), expected) <= 1e-5


def test_a_vision_tower_with_the_pretrained_models_projection_is_equal(
    hf: Any, tmp_path: Path
) -> None:
    save_file(dict(hf.state_dict()), tmp_path / "pretrained.safetensors")
    expert = randomised(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**VISION)), 2)
    expert.save_pretrained(tmp_path / "expert")
    with torch.no_grad():
        expected = hf.visual_projection(expert(pixel_values=IMAGES).pooler_output)
    actual = features(tmp_path / "expert", PROJECTED, tmp_path / "pretrained.safetensors")
    assert difference(actual, expected) <= 1e-5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("encoder.layers.0.self_attn.q_proj.weight", "encoder.layers.0.self_attn.k_proj.weight"),
        ("encoder.layers.1.self_attn.k_proj.weight", "encoder.layers.1.self_attn.v_proj.weight"),
        ("encoder.layers.0.layer_norm1.bias", "encoder.layers.0.layer_norm2.bias"),
        ("pre_layrnorm.bias", "post_layernorm.bias"),
        ("encoder.layers.0.mlp.fc2.bias", "encoder.layers.1.mlp.fc2.bias"),
    ],
)
def test_swapped_weights_of_one_shape_would_show(
    one: str, other: str, hf: Any, hf_projected: Tensor, tmp_path: Path
) -> None:
    state = dict(hf.state_dict())
    one, other = f"vision_model.{one}", f"vision_model.{other}"
    state[one], state[other] = state[other], state[one]
    save_file({key: weight.clone() for key, weight in state.items()}, tmp_path / "swapped")
    assert difference(features(tmp_path / "swapped", PROJECTED), hf_projected) > 1e-3


def test_another_activation_would_show(hf: Any, hf_projected: Tensor, tmp_path: Path) -> None:
    write_safetensors(hf, tmp_path / "clip")
    plain = Backbone("vit_base_patch32_clip_224.openai", PROJECTED.options)
    assert difference(features(tmp_path / "clip", plain), hf_projected) > 1e-3


@pytest.mark.slow
def test_clip_vit_b32_of_full_size_is_equal(tmp_path: Path) -> None:
    config = transformers.CLIPVisionConfig(hidden_act="quick_gelu")
    assert (config.hidden_size, config.num_hidden_layers, config.patch_size) == (768, 12, 32)
    with torch.device("meta"):
        model = transformers.CLIPVisionModel(config)
    for ids in model.to_empty(device="cpu").buffers():
        ids.copy_(torch.arange(ids.shape[1]))
    randomised(model, std=0.05)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    encoder = load_encoder(str(tmp_path), CLIP)
    (tmp_path / "pytorch_model.bin").unlink()  # 350 MB, which pytest would keep
    with torch.no_grad():
        actual, expected = encoder(images), model(pixel_values=images).pooler_output
    assert actual.std() > 0.01
    assert difference(actual, expected) <= 1e-5


WRAPPERS = ["module.", "_orig_mod.", "model.", "module._orig_mod.", "ema_model.module.clip."]


@pytest.mark.parametrize("prefix", WRAPPERS)
def test_clip_of_transformers_is_equal_behind_any_prefix(
    prefix: str, hf: Any, hf_projected: Tensor, hf_pooled: Tensor, tmp_path: Path
) -> None:
    counter = {"n_averaged": torch.tensor(5), "ema_model.n_averaged": torch.tensor(5)}
    save_file({prefix + k: w for k, w in hf.state_dict().items()} | counter, tmp_path / "clip")
    assert difference(features(tmp_path / "clip", PROJECTED), hf_projected) <= 1e-5
    assert difference(features(tmp_path / "clip", POOLED), hf_pooled) <= 1e-5


# --- open_clip -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oc() -> Any:
    """A whole CLIP model."""
    vision = {"image_size": 64, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 99, "width": 32, "heads": 4, "layers": 1}
    return randomised(open_clip.model.CLIP(EMBED, vision, text, quick_gelu=True))


def oc_full(model: Any) -> dict[str, Tensor]:
    return dict(model.state_dict())


def oc_visual(model: Any) -> dict[str, Tensor]:
    return dict(model.visual.state_dict())


def oc_visual_with_prefix(model: Any) -> dict[str, Tensor]:
    return {f"visual.{key}": weight for key, weight in model.visual.state_dict().items()}


def task_arithmetics(model: Any) -> dict[str, Tensor]:
    """As the authors of task arithmetic save: their ImageEncoder has the whole model as `model`."""
    return {f"model.{key}": weight for key, weight in model.state_dict().items()}


def openais(model: Any) -> dict[str, Tensor]:
    """With what OpenAI's archives say of themselves, in half precision."""
    half = {key: weight.half().float() for key, weight in model.state_dict().items()}
    model.load_state_dict(half)
    said = {"input_resolution": 64, "context_length": 77, "vocab_size": 99}
    return {key: weight.half() for key, weight in half.items()} | {
        key: torch.tensor(value) for key, value in said.items()
    }


@pytest.mark.parametrize(
    "of", [oc_full, oc_visual, oc_visual_with_prefix, task_arithmetics, openais]
)
@pytest.mark.parametrize(("save", "name"), [(save_file, "vit.safetensors"), (torch.save, "vit.pt")])
def test_clip_of_open_clip_is_equal(
    save: Callable[[object, Path], None],
    name: str,
    of: Callable[[Any], dict[str, Tensor]],
    oc: Any,
    tmp_path: Path,
) -> None:
    save(of(oc), tmp_path / name)
    with torch.no_grad():
        expected = oc.encode_image(IMAGES)
    assert difference(features(tmp_path / name, PROJECTED), expected) <= 1e-5


@pytest.mark.parametrize("prefix", WRAPPERS)
def test_clip_of_open_clip_is_equal_behind_any_prefix(prefix: str, oc: Any, tmp_path: Path) -> None:
    save_file({prefix + key: weight for key, weight in oc_full(oc).items()}, tmp_path / "clip")
    with torch.no_grad():
        expected = oc.encode_image(IMAGES)
    assert difference(features(tmp_path / "clip", PROJECTED), expected) <= 1e-5


def test_a_tower_of_open_clip_whose_config_tells_another_pooling_is_refused(
    oc: Any, tmp_path: Path
) -> None:
    tower: dict[str, Any] = {"width": 64, "head_width": 16, "image_size": 64, "patch_size": 16}
    model = {"embed_dim": EMBED, "quick_gelu": True, "vision_cfg": tower, "text_cfg": {}}
    save_file(oc_full(oc), tmp_path / "open_clip_model.safetensors")
    config = tmp_path / "open_clip_config.json"
    config.write_text(json.dumps({"model_cfg": model}))
    features(tmp_path, PROJECTED)
    for change, said in (
        (
            {"vision_cfg": {**tower, "pool_type": "avg"}},
            "the pooling .* is mean after the norm, but",
        ),
        ({"quick_gelu": False}, "the activation .* is gelu, but that of .* is quick_gelu"),
        ({"vision_cfg": {**tower, "head_width": 32}}, "heads of the weights beside it is 2, but"),
    ):
        config.write_text(json.dumps({"model_cfg": {**model, **change}}))
        with pytest.raises(CheckpointError, match=rf"open_clip_config\.json says that .*{said}"):
            load_encoder(str(tmp_path), PROJECTED)


def test_clip_of_open_clip_is_equal_before_the_projection(oc: Any, tmp_path: Path) -> None:
    save_file(oc_full(oc), tmp_path / "clip")
    with torch.no_grad():
        projected = oc.encode_image(IMAGES)
    actual = features(tmp_path / "clip", POOLED)
    assert actual.shape == (2, 64)
    assert difference(actual @ oc.visual.proj.detach(), projected) <= 1e-5


def test_swapped_weights_of_open_clip_would_show(oc: Any, tmp_path: Path) -> None:
    state = {key: weight.clone() for key, weight in oc.state_dict().items()}
    qkv = state["visual.transformer.resblocks.0.attn.in_proj_weight"]
    q, k, v = qkv.clone().chunk(3)
    qkv.copy_(torch.cat([k, q, v]))
    save_file(state, tmp_path / "swapped")
    with torch.no_grad():
        expected = oc.encode_image(IMAGES)
    assert difference(features(tmp_path / "swapped", PROJECTED), expected) > 1e-3


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_training_checkpoint_of_open_clip_is_equal(key: str, oc: Any, tmp_path: Path) -> None:
    content = {"epoch": 3, "optimizer": {"state": {}}, key: oc.state_dict()}
    torch.save(content, tmp_path / "epoch_3.pt")
    with torch.no_grad():
        expected = oc.encode_image(IMAGES)
    assert difference(features(tmp_path / "epoch_3.pt", PROJECTED), expected) <= 1e-5


# --- timm ------------------------------------------------------------------------------------

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}
TIMMS: dict[str, tuple[str, dict[str, Any]]] = {
    "CLIP": (CLIP, {**TINY, "num_classes": EMBED}),
    "ViT": ("vit_tiny_patch16_224", {**SMALL, "img_size": 64}),
    "ViT with its own head": ("vit_tiny_patch16_224", {**SMALL, "img_size": 64, "num_classes": 7}),
    "DINOv2": ("vit_small_patch14_dinov2.lvd142m", {**SMALL, "img_size": 56}),
    "DINOv2, registers": ("vit_small_patch14_reg4_dinov2.lvd142m", {**SMALL, "img_size": 56}),
    "SigLIP": ("vit_base_patch16_siglip_224.webli", {**SMALL, "img_size": 64}),
    "EVA-02": ("eva02_tiny_patch14_224", {**SMALL, "img_size": 56}),
    "DeiT": ("deit_tiny_patch16_224", {**SMALL, "img_size": 64}),
}


def timm_model(name: str) -> tuple[Any, Backbone]:
    model, options = TIMMS[name]
    options = {"num_classes": 0, **options}
    return randomised(timm.create_model(model, **options)), Backbone(model, options)


@pytest.mark.parametrize("name", TIMMS)
@pytest.mark.parametrize("prefix", ["", "visual.trunk.", "model.", "module.visual.trunk."])
def test_an_encoder_of_timm_is_equal_behind_any_prefix(
    prefix: str, name: str, tmp_path: Path
) -> None:
    model, backbone = timm_model(name)
    save_file({prefix + key: w for key, w in model.state_dict().items()}, tmp_path / "vit")
    size = backbone.options["img_size"]
    with torch.no_grad():
        images = IMAGES[..., :size, :size]
        actual, expected = load_encoder(str(tmp_path / "vit"), backbone)(images), model(images)
    assert expected.std() > 0.05
    assert difference(actual, expected) <= 1e-5


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_a_training_checkpoint_of_timm_is_equal(key: str, tmp_path: Path) -> None:
    model, backbone = timm_model("ViT with its own head")
    torch.save({"epoch": 3, "arch": "vit", key: model.state_dict()}, tmp_path / "last.pth")
    with torch.no_grad():
        expected = model(IMAGES)
    assert difference(features(tmp_path / "last.pth", backbone), expected) <= 1e-5


def test_a_classifiers_head_is_left_out_where_the_backbone_has_none(tmp_path: Path) -> None:
    model, backbone = timm_model("ViT with its own head")
    save_file(dict(model.state_dict()), tmp_path / "vit")
    headless = Backbone(backbone.model, {**backbone.options, "num_classes": 0})
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(IMAGES), pre_logits=True)
    assert difference(features(tmp_path / "vit", headless), expected) <= 1e-5


@pytest.mark.parametrize("head", ["head", "fc", "classifier"])
@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone."])
def test_a_head_beside_an_encoder_of_timm_is_left_out(
    prefix: str, head: str, tmp_path: Path
) -> None:
    model, backbone = timm_model("ViT")
    outer = prefix.removesuffix("backbone.")
    own = {f"{outer}{head}.weight": torch.zeros(3, 32), f"{outer}{head}.bias": torch.zeros(3)}
    state = {prefix + key: weight for key, weight in model.state_dict().items()} | own
    save_file(state, tmp_path / "vit")
    with torch.no_grad():
        assert difference(features(tmp_path / "vit", backbone), model(IMAGES)) <= 1e-5
    save_file({**state, f"{outer}decoder.weight": torch.zeros(3)}, tmp_path / "vit")
    with pytest.raises(CheckpointError, match=r"'(module\.)?decoder\.weight' is not a part of it"):
        load_encoder(str(tmp_path / "vit"), backbone)


@pytest.mark.parametrize("name", ["DINOv2", "DINOv2, registers"])
def test_the_mask_token_of_dinov2_is_left_out(name: str, tmp_path: Path) -> None:
    model, backbone = timm_model(name)
    state = {f"teacher.{key}": weight for key, weight in model.state_dict().items()}
    save_file({**state, "teacher.mask_token": torch.randn(1, 32)}, tmp_path / "vit")
    images = IMAGES[..., :56, :56]
    with torch.no_grad():
        actual = load_encoder(str(tmp_path / "vit"), backbone)(images)
        assert difference(actual, model(images)) <= 1e-5


@pytest.mark.parametrize("prefix", ["", "module.backbone."])
def test_dinov2_with_registers_as_meta_publishes_it_is_what_timm_makes_of_it(
    prefix: str, tmp_path: Path
) -> None:
    model, backbone = timm_model("DINOv2, registers")
    theirs = dict(model.state_dict())
    theirs["register_tokens"] = theirs.pop("reg_token")
    theirs["pos_embed"] = torch.cat([torch.randn(1, 1, 32), theirs["pos_embed"]], dim=1)
    theirs["mask_token"] = torch.zeros(1, 32)
    save_file({prefix + key: weight for key, weight in theirs.items()}, tmp_path / "dinov2")
    model.load_state_dict(checkpoint_filter_fn(dict(theirs), model))
    images = IMAGES[..., :56, :56]
    with torch.no_grad():
        actual = load_encoder(str(tmp_path / "dinov2"), backbone)(images)
        assert difference(actual, model(images)) <= 1e-5


def test_both_heads_of_a_distilled_classifier_are_left_out(tmp_path: Path) -> None:
    options: dict[str, Any] = {**SMALL, "img_size": 64}
    name = "deit_tiny_distilled_patch16_224"
    model = randomised(timm.create_model(name, **options, num_classes=7))
    save_file(dict(model.state_dict()), tmp_path / "deit")
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(IMAGES), pre_logits=True)
    assert difference(features(tmp_path / "deit", Backbone(name, options)), expected) <= 1e-5


def test_a_tower_of_timm_in_a_model_of_open_clip_is_equal(tmp_path: Path) -> None:
    model = randomised(
        open_clip.model.CustomTextCLIP(
            EMBED,
            {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "", "image_size": 160},
            {"context_length": 16, "vocab_size": 99, "width": 32, "heads": 4, "layers": 1},
            init_logit_bias=-10.0,
        )
    )
    state = dict(model.state_dict())
    assert {key.split(".")[0] for key in state} == {"visual", "text", "logit_scale", "logit_bias"}
    save_file(state, tmp_path / "open_clip_model.safetensors")
    backbone = Backbone("test_vit", {"num_classes": EMBED, "img_size": 160, "global_pool": ""})
    images = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        actual = load_encoder(str(tmp_path), backbone)(images)
        expected = model.visual(images)
    assert expected.std() > 0.05
    assert difference(actual, expected) <= 1e-5


# --- recognition -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "form", "prefix"),
    [
        (["cls_token", "patch_embed.proj.weight"], TIMM, ""),
        (["visual.trunk.patch_embed.proj.weight", "text.ln_final.weight"], TIMM, "visual.trunk."),
        (["embeddings.class_embedding"], HUGGING_FACE_CLIP, ""),
        (["text_model.x", "vision_model.embeddings.class_embedding"], HUGGING_FACE_CLIP, None),
        (["conv1.weight", "ln_pre.weight"], OPEN_CLIP, ""),
        (["transformer.x", "visual.ln_pre.weight"], OPEN_CLIP, "visual."),
        (["model.visual.ln_pre.weight"], OPEN_CLIP, "model.visual."),
    ],
)
def test_a_form_is_told_by_its_keys(keys: list[str], form: object, prefix: str | None) -> None:
    expected = "vision_model." if prefix is None else prefix
    assert recognise(keys) == recognise(reversed(keys)) == (form, [expected])


@pytest.mark.parametrize("keys", [[], ["weight"], ["ln_pre.weights"], ["xln_pre.weight"]], ids=str)
def test_other_keys_are_of_no_form(keys: list[str]) -> None:
    assert recognise(keys) is None


def test_a_file_of_no_known_form_is_refused_with_some_of_its_keys(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet", num_classes=0).state_dict()
    torch.save(state, tmp_path / "resnet.pt")
    complaint = (
        r"resnet\.pt has no vision tower of a known form: its keys \('conv1\.0\.weight', .* …\) "
        r"are not those of DINOv2 with registers, timm, Hugging Face CLIP or open_clip\.$"
    )
    with pytest.raises(CheckpointError, match=complaint):
        load_encoder(str(tmp_path / "resnet.pt"), POOLED)
    assert [form.name for form in VISION_FORMS][1:] == ["timm", "Hugging Face CLIP", "open_clip"]


@pytest.mark.parametrize("name", ["model.safetensors", "open_clip_pytorch_model.bin", "encoder"])
def test_the_name_of_a_file_says_nothing_about_its_form(
    name: str, hf: Any, hf_projected: Tensor, tmp_path: Path
) -> None:
    torch.save(hf.state_dict(), tmp_path / name)
    assert difference(features(tmp_path / name, PROJECTED), hf_projected) <= 1e-5


def test_the_weights_of_all_forms_are_one_in_timms(hf: Any, tmp_path: Path) -> None:
    """What was read is timm's: saved again, it is read as before."""
    write_safetensors(hf, tmp_path / "clip")
    encoder = load_encoder(str(tmp_path / "clip"), PROJECTED)
    save_file(dict(encoder.state_dict()), tmp_path / "again")
    again = load_encoder(str(tmp_path / "again"), PROJECTED)
    torch.testing.assert_close(load_file(tmp_path / "again"), dict(again.state_dict()))
    assert torch.equal(again(IMAGES), encoder(IMAGES))

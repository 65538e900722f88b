"""An encoder is read strictly: every key is accounted for, and what does not fit is explained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from helpers.hub_content import write_clip, write_expert
from helpers.loopback_hub import LoopbackHub
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wemoe_pl.checkpoints import (
    Backbone,
    LazyState,
    Weights,
    encoder_state,
    load_encoder,
    save_tensors,
    text_state,
)
from wemoe_pl.errors import CheckpointError, HubError
from wemoe_pl.system.configs import find_config

OPTIONS = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}
BACKBONE = Backbone("vit_tiny_patch16_224", OPTIONS)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

CLIP = "vit_base_patch32_clip_quickgelu_224.openai"
CLIP_OPTIONS = {"embed_dim": 64, "depth": 2, "num_heads": 4, "img_size": 64, "patch_size": 16}
POOLED = Backbone(CLIP, CLIP_OPTIONS)
PROJECTED = Backbone(CLIP, {**CLIP_OPTIONS, "num_classes": 32})

Change = Callable[[dict[str, Tensor]], object]


@pytest.fixture
def weights(pretrained: nn.Module) -> dict[str, Tensor]:
    """The weights of `pretrained`, to be changed at will."""
    return {key: tensor.clone() for key, tensor in pretrained.state_dict().items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not yet there."""
    return tmp_path / "expert.safetensors"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole CLIP model in Hugging Face's form; none may change it."""
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder, seed=1)
    return folder


@pytest.fixture(scope="module")
def vision(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the vision tower of an expert, without projection; none may change it."""
    folder = tmp_path_factory.mktemp("vision")
    write_expert(folder, clip, seed=2)
    return folder


@pytest.fixture
def changed(clip: Path, tmp_path: Path) -> Callable[[Change], str]:
    """`changed(change)`: the file of the CLIP model after a change to its tensors."""

    def write(change: Change) -> str:
        state = load_file(clip / "model.safetensors")
        change(state)
        save_file(state, tmp_path / "changed.safetensors")
        return str(tmp_path / "changed.safetensors")

    return write


def assert_same(actual: nn.Module, expected: nn.Module) -> None:
    torch.testing.assert_close(actual.state_dict(), expected.state_dict(), rtol=0, atol=0)


# --- what is read ----------------------------------------------------------------------------


def test_an_encoder_is_read_from_a_file_or_from_the_folder_around_it(
    tmp_path: Path, pretrained: nn.Module
) -> None:
    save_tensors(tmp_path / "encoder.safetensors", pretrained.state_dict(), {})
    for source in (tmp_path / "encoder.safetensors", tmp_path):
        encoder = load_encoder(str(source), BACKBONE)
        assert_same(encoder, pretrained)
        assert torch.equal(encoder(IMAGES), pretrained(IMAGES))
        assert not encoder.training


def test_a_backbone_may_be_given_by_its_name_alone(path: Path) -> None:
    encoder = timm.create_model("test_vit", num_classes=0)
    save_tensors(path, encoder.state_dict(), {})
    assert_same(load_encoder(str(path), "test_vit"), encoder)


@pytest.mark.parametrize("name", ["miniature", "miniature20"])
def test_a_miniature_is_shipped(name: str) -> None:
    suite = yaml.safe_load(Path(find_config(f"suites/{name}")).read_text())
    encoder = load_encoder(suite["pretrained"], Backbone(**suite["backbone"]))
    assert_same(encoder, load_encoder(f"shipped:{name}", Backbone(**suite["backbone"])))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_file_is_read_as_float32_with_equal_values(
    dtype: torch.dtype, path: Path, pretrained: nn.Module
) -> None:
    save_tensors(path, pretrained.state_dict(), {}, dtype)
    for key, tensor in load_encoder(str(path), BACKBONE).state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, pretrained.state_dict()[key].to(dtype).float())


def test_an_encoder_is_read_from_the_hub(
    hub_root: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    """A pretrained model that is published as a pickle, and an expert without projection."""
    backbone = Backbone(
        CLIP, {**CLIP_OPTIONS, "img_size": 128, "patch_size": 32, "num_classes": 32}
    )
    expert, pretrained = "tanganke/clip-vit-base-patch32_dtd", "openai/clip-vit-base-patch32"
    with LoopbackHub(hub_root) as hub:
        online(hub)
        encoder = load_encoder(expert, backbone, projection=pretrained)
    state = load_file(hub_root / "models" / expert / "model.safetensors")
    ours, theirs = encoder.get_parameter("cls_token"), "vision_model.embeddings.class_embedding"
    assert torch.equal(ours[0, 0], state[theirs].float())
    head = load_encoder(pretrained, backbone).get_parameter("head.weight")  # from the cache
    assert torch.equal(encoder.get_parameter("head.weight"), head)


# --- laziness --------------------------------------------------------------------------------


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that are read of files."""
    keys: list[str] = []
    original = Weights.__getitem__

    def counted(self: Weights, key: str) -> Tensor:
        keys.append(key)
        return original(self, key)

    monkeypatch.setattr(Weights, "__getitem__", counted)
    return keys


def test_the_weights_of_an_encoder_are_read_when_asked_for(clip: Path, read: list[str]) -> None:
    state = encoder_state(str(clip), PROJECTED)
    assert len(state) == len(state.shapes) == len(PROJECTED.skeleton().state_dict())
    assert "blocks.0.attn.qkv.weight" in state
    assert read == []
    assert state["norm.bias"].shape == (64,)
    assert read == ["vision_model.post_layernorm.bias"]
    del read[:]
    assert state["blocks.0.attn.qkv.weight"].shape == (192, 64)
    attention = "vision_model.encoder.layers.0.self_attn"
    assert read == [f"{attention}.{part}_proj.weight" for part in "qkv"]


def test_loading_reads_every_tensor_of_the_tower_once_and_nothing_else(
    clip: Path, read: list[str]
) -> None:
    load_encoder(str(clip), PROJECTED)
    tower = {
        key for key in load_file(clip / "model.safetensors") if "vision" in key or "visual" in key
    }
    assert sorted(read) == sorted(tower - {"vision_model.embeddings.position_ids"})


def test_of_the_pretrained_model_only_the_projection_is_read(
    clip: Path, vision: Path, read: list[str]
) -> None:
    state = encoder_state(str(vision), PROJECTED, projection=str(clip))
    assert read == []
    dict(state)
    assert read.count("visual_projection.weight") == 1
    assert len(read) == len(load_file(vision / "model.safetensors")) + 1


# --- projections -----------------------------------------------------------------------------


def test_a_vision_tower_alone_needs_a_projection(vision: Path) -> None:
    complaint = (
        r"model\.safetensors has no projection \('visual_projection\.weight'\): "
        r"take it from the pretrained model \(`projection`\), or build the backbone with "
        r"`num_classes: 0`\."
    )
    with pytest.raises(CheckpointError, match=complaint):
        load_encoder(str(vision), PROJECTED)


def test_a_vision_tower_takes_the_projection_and_nothing_else(clip: Path, vision: Path) -> None:
    encoder = load_encoder(str(vision), PROJECTED, projection=str(clip))
    assert torch.equal(
        encoder.get_parameter("head.weight"),
        load_file(clip / "model.safetensors")["visual_projection.weight"].float(),
    )
    tower = load_encoder(str(vision), POOLED).state_dict()
    for key, weight in encoder.state_dict().items():
        assert key.startswith("head.") or torch.equal(weight, tower[key])


def test_a_projection_is_left_out_where_the_backbone_has_none(clip: Path) -> None:
    whole, pooled = encoder_state(str(clip), PROJECTED), encoder_state(str(clip), POOLED)
    assert [key for key in whole if not key.startswith("head.")] == list(pooled)


@pytest.mark.parametrize("backbone", [POOLED, PROJECTED], ids=["pooled", "projected"])
def test_another_projection_is_not_looked_for_where_none_is_needed(
    backbone: Backbone, clip: Path
) -> None:
    load_encoder(str(clip), backbone, projection="/nowhere.safetensors")


def test_a_projection_of_another_model_is_refused_by_name(vision: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "other", seed=1, embed_dim=48, text_layers=1)
    complaint = (
        r"other/model\.safetensors does not fit the backbone .*"
        r"'head\.weight' has shape \(48, 64\) instead of \(32, 64\)"
    )
    with pytest.raises(CheckpointError, match=complaint):
        load_encoder(str(vision), PROJECTED, projection=str(tmp_path / "other"))


# --- what belongs to another model -----------------------------------------------------------


def test_the_first_differing_key_is_named_with_both_shapes(
    path: Path, weights: dict[str, Tensor]
) -> None:
    weights["norm.weight"] = torch.zeros(17)
    weights["blocks.1.mlp.fc1.weight"] = torch.zeros(64, 15)
    save_tensors(path, weights, {})
    complaint = (
        r"expert\.safetensors does not fit the backbone 'vit_tiny_patch16_224': "
        r"'blocks\.1\.mlp\.fc1\.weight' has shape \(64, 15\) instead of \(64, 16\)\. Use weights"
    )
    with pytest.raises(CheckpointError, match=complaint):
        load_encoder(str(path), BACKBONE)


@pytest.mark.parametrize(
    ("name", "options", "difference"),
    [
        ("vit_tiny_patch16_224", {"depth": 1}, r"'blocks\.1\.norm1\.weight' is missing"),
        ("vit_tiny_patch16_224", {"depth": 3}, r"'blocks\.2\.\S+' is not a part of it"),
        ("deit_tiny_distilled_patch16_224", {}, r"'pos_embed' has shape \(1, 6, 16\) .*\(1, 5, "),
        ("eva02_tiny_patch14_224", {}, r"'blocks\.0\.attn\.qkv\.bias' is missing"),
        ("vit_tiny_patch16_224", {"init_values": 1e-5}, r"'blocks\.0\.ls1\.gamma' is not a part"),
    ],
)
def test_an_expert_of_another_architecture_is_refused(
    name: str,
    options: dict[str, Any],
    difference: str,
    path: Path,
    tiny_vit: Callable[..., nn.Module],
) -> None:
    save_tensors(path, tiny_vit(1, name, **options).state_dict(), {})
    with pytest.raises(CheckpointError, match=rf"does not fit the backbone .*: {difference}"):
        load_encoder(str(path), BACKBONE)


@pytest.mark.parametrize(
    ("written", "theirs", "ours"),
    [
        (
            {"image_size": 128, "patch_size": 32},
            "width 64, depth 2 and patches of 32 pixels",
            "width 64, depth 2 and patches of 16 pixels",
        ),
        (
            {"width": 96, "layers": 3},
            "width 96, depth 3 and patches of 16 pixels",
            "width 64, depth 2 and patches of 16 pixels",
        ),
        (
            {"layers": 1},
            "width 64, depth 1 and patches of 16 pixels",
            "width 64, depth 2 and patches of 16 pixels",
        ),
    ],
    ids=["B/32 as B/16", "L as B", "fewer layers"],
)
@pytest.mark.parametrize("with_projection", [False, True])
def test_another_size_of_clip_is_told_with_both_architectures(
    with_projection: bool, written: dict[str, int], theirs: str, ours: str, tmp_path: Path
) -> None:
    write_clip(tmp_path, seed=1, text_layers=1, **written)  # type: ignore[arg-type]
    complaint = (
        rf"model\.safetensors does not fit the backbone '{CLIP}', since it is a transformer of "
        rf"{theirs} and the backbone is one of {ours}: '.*' (has shape .* instead of .*|is missing)"
        r"\. Use weights that were fine-tuned from the same pretrained model\.$"
    )
    with pytest.raises(CheckpointError, match=complaint):
        load_encoder(str(tmp_path), PROJECTED if with_projection else POOLED)


def test_vit_b16_is_not_taken_for_vit_b32(path: Path) -> None:
    b16, b32 = (
        Backbone(f"vit_base_patch{size}_clip_quickgelu_224.openai", {"depth": 1})
        for size in (16, 32)
    )
    save_tensors(path, b16.build().state_dict(), {})
    complaint = (
        r"transformer of width 768, depth 1 and patches of 16 pixels and the backbone is one of "
        r"width 768, depth 1 and patches of 32 pixels: 'pos_embed' has shape \(1, 197, 768\) inst"
    )
    with pytest.raises(CheckpointError, match=complaint):
        load_encoder(str(path), b32)


FC1 = "vision_model.encoder.layers.1.mlp.fc1.weight"
Q = "vision_model.encoder.layers.1.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda s: s.pop(FC1), r"'blocks\.1\.mlp\.fc1\.weight' is missing"),
        (lambda s: s.pop(f"{Q}.bias"), r"'blocks\.1\.attn\.qkv\.bias' is missing"),
        (lambda s: s.pop("vision_model.pre_layrnorm.bias"), r"'norm_pre\.bias' is missing"),
        (
            lambda s: s.update({FC1: torch.zeros(256, 63)}),
            r"'blocks\.1\.mlp\.fc1\.weight' has shape \(256, 63\) instead of \(256, 64\)",
        ),
        (
            lambda s: s.update({f"{Q}.weight": torch.zeros(63, 64)}),
            r"'blocks\.1\.attn\.qkv\.weight' has shape \(191, 64\) instead of \(192, 64\)",
        ),
        (
            lambda s: s.update({f"{Q}.weight": torch.zeros(64, 63)}),
            r"'blocks\.1\.attn\.qkv\.weight' has shape \(64, 63\) instead of \(192, 64\)",
        ),
        (
            lambda s: s.update({"vision_model.lora.weight": torch.zeros(2)}),
            r"'vision_model\.lora\.weight' is not a part of it",
        ),
        (
            lambda s: s.update({"vision_model.text_model.weight": torch.zeros(2)}),
            r"'vision_model\.text_model\.weight' is not a part of it",
        ),
        (
            lambda s: s.update({f"{Q}.scale": torch.zeros(2)}),
            r"'vision_model\.encoder\.layers\.1\.self_attn\.q_proj\.scale' is not a part of it",
        ),
        (lambda s: s.update({"adapter": torch.zeros(2)}), r"'adapter' is not a part of it"),
        (
            lambda s: s.update({"visual_projection.bias": torch.zeros(32)}),
            r"'visual_projection\.bias' is not a part of it",
        ),
    ],
)
def test_a_missing_extra_or_misshapen_tensor_is_named(
    change: Change, difference: str, changed: Callable[[Change], str]
) -> None:
    source = changed(change)
    for backbone in (PROJECTED, POOLED):
        with pytest.raises(
            CheckpointError, match=rf"changed\.safetensors does not fit .*{difference}"
        ):
            load_encoder(source, backbone)


@pytest.mark.parametrize("key", ["transformer.resblocks.0.ln_1.weight", "text_projection", "proj2"])
def test_in_a_tower_of_open_clip_alone_nothing_else_may_be(key: str, path: Path) -> None:
    """What a full model has beside its `visual.` is no part of a tower without that prefix."""
    state = encoder_state_of_open_clip()
    save_file(state, path)
    load_encoder(str(path), POOLED)
    save_file({**state, f"{key}.adapter": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=rf"'{key}\.adapter' is not a part of it"):
        load_encoder(str(path), POOLED)


def encoder_state_of_open_clip() -> dict[str, Tensor]:
    """Zeros by the keys of open_clip's vision tower."""
    blocks = {
        f"transformer.resblocks.{i}.{part}.{kind}": torch.zeros(
            shape if kind == "weight" else shape[:1]
        )
        for i in range(2)
        for part, shape in {
            "ln_1": (64,),
            "ln_2": (64,),
            "attn.out_proj": (64, 64),
            "mlp.c_fc": (256, 64),
            "mlp.c_proj": (64, 256),
        }.items()
        for kind in ("weight", "bias")
    }
    attention = {
        f"transformer.resblocks.{i}.attn.in_proj_{kind}": torch.zeros(shape)
        for i in range(2)
        for kind, shape in {"weight": (192, 64), "bias": (192,)}.items()
    }
    norms = {
        f"{n}.{kind}": torch.zeros(64) for n in ("ln_pre", "ln_post") for kind in ("weight", "bias")
    }
    return {
        **blocks,
        **attention,
        **norms,
        "class_embedding": torch.zeros(64),
        "positional_embedding": torch.zeros(17, 64),
        "conv1.weight": torch.zeros(64, 3, 16, 16),
    }


# --- what the config beside weights tells ----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "vit_base_patch32_clip_224",
            {},
            r"activation .* is quick_gelu, but that of the backbone 'v",
        ),
        (
            CLIP,
            {"num_heads": 8},
            r"number of attention heads .* is 4, but that of .* is 8: set `num",
        ),
    ],
)
def test_a_backbone_that_computes_another_function_is_refused(
    name: str, options: dict[str, Any], said: str, clip: Path
) -> None:
    backbone = Backbone(name, {**CLIP_OPTIONS, **options})
    with pytest.raises(CheckpointError, match=rf"{clip}/config\.json says that the {said}"):
        load_encoder(str(clip), backbone)


def test_a_config_beside_shards_or_a_file_of_any_name_is_read(clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip / "config.json", tmp_path)
    shutil.copy(clip / "model.safetensors", tmp_path / "expert.safetensors")
    plain = Backbone("vit_base_patch32_clip_224", CLIP_OPTIONS)
    with pytest.raises(CheckpointError, match=r"activation of the weights beside it is quick_gelu"):
        load_encoder(str(tmp_path / "expert.safetensors"), plain)
    (tmp_path / "expert.safetensors").rename(tmp_path / "model-00001-of-00002.safetensors")
    save_file({"text_model.more": torch.zeros(1)}, tmp_path / "model-00002-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=r"activation of the weights beside it is quick_gelu"):
        load_encoder(str(tmp_path), plain)


def test_a_projection_that_only_the_config_has_is_not_compared(clip: Path, vision: Path) -> None:
    """Configs of towers without one tell 512, whatever the model was that they were made from."""
    assert json.loads((vision / "config.json").read_text())["projection_dim"] == 512
    load_encoder(str(vision), PROJECTED, projection=str(clip))


def test_a_config_is_asked_of_the_projections_model_too(clip: Path, vision: Path) -> None:
    plain = Backbone("vit_base_patch32_clip_224", PROJECTED.options)
    (alone := vision.parent / "alone").mkdir(exist_ok=True)
    shutil.copy(vision / "model.safetensors", alone)
    with pytest.raises(CheckpointError, match=rf"{clip}/config\.json says that the activation"):
        load_encoder(str(alone), plain, projection=str(clip))


def test_a_damaged_config_is_told(clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(
        '{"model_type": "clip", "vision_config": {"hidden_act": 5}}'
    )
    with pytest.raises(CheckpointError, match=r"config\.json is damaged: its 'hidden_act' is '5' "):
        load_encoder(str(tmp_path), POOLED)


def test_a_text_tower_that_computes_another_function_is_refused(clip: Path) -> None:
    complaint = (
        r"config\.json says that the activation of the weights beside it is quick_gelu, but that "
        r"of the suite's `text_tower` is gelu: give the name under which open_clip knows it\."
    )
    with pytest.raises(CheckpointError, match=complaint):
        text_state(str(clip), text_shapes(), {"activation": "gelu"})
    text_state(str(clip), text_shapes(), {"activation": "quick_gelu"})


# --- what is no good -------------------------------------------------------------------------


def test_a_weight_that_is_not_finite_is_named_with_its_file(
    path: Path, weights: dict[str, Tensor]
) -> None:
    weights["blocks.0.mlp.fc2.bias"][3] = torch.nan
    save_file(weights, path)
    complaint = r"expert\.safetensors has NaN or infinite weights in 'blocks\.0\.mlp\.fc2\.bias'"
    with pytest.raises(CheckpointError, match=complaint):
        load_encoder(str(path), BACKBONE)


def test_a_weight_that_is_not_used_may_be_anything(changed: Callable[[Change], str]) -> None:
    source = changed(lambda s: s["text_projection.weight"].fill_(torch.nan))
    load_encoder(source, PROJECTED)


def test_a_missing_encoder_is_told_by_its_path(path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no file .*expert\.safetensors\. Check the path"):
        load_encoder(str(path), BACKBONE)


def test_a_repository_that_is_not_there_is_told_as_a_path_too(
    hub_root: Path, online: Callable[[LoopbackHub], Path]
) -> None:
    with LoopbackHub(hub_root) as hub:
        online(hub)
        with pytest.raises(HubError, match=r"neither a file or folder lab/vit here nor a model of"):
            load_encoder("lab/vit", BACKBONE)


# --- the text tower --------------------------------------------------------------------------


def text_shapes(layers: int = 2, embed_dim: int = 32) -> dict[str, torch.Size]:
    open_clip = pytest.importorskip("open_clip")
    tower = open_clip.transformer.TextTransformer(
        width=32, heads=2, layers=layers, output_dim=embed_dim
    )
    shapes = {key: weight.shape for key, weight in tower.state_dict().items()}
    return {**shapes, "logit_scale": torch.Size([])}


def test_the_text_tower_is_read_when_asked_for(clip: Path, read: list[str]) -> None:
    state = text_state(str(clip), text_shapes(), {})
    assert isinstance(state, LazyState)
    assert read == []
    theirs = load_file(clip / "model.safetensors")
    assert torch.equal(state["logit_scale"], theirs["logit_scale"].float())
    assert torch.equal(state["text_projection"], theirs["text_projection.weight"].float().T)
    assert read == ["logit_scale", "text_projection.weight"]
    attention = "text_model.encoder.layers.0.self_attn"
    stacked = torch.cat([theirs[f"{attention}.{part}_proj.bias"].float() for part in "qkv"])
    assert torch.equal(state["transformer.resblocks.0.attn.in_proj_bias"], stacked)


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_the_text_tower_of_open_clip_is_read_behind_any_prefix(prefix: str, path: Path) -> None:
    shapes = text_shapes()
    tensors = {key: torch.full(shape, float(i)) for i, (key, shape) in enumerate(shapes.items())}
    vision = {"visual.ln_pre.weight": torch.zeros(2), "visual.proj": torch.zeros(2, 2)}
    save_file({prefix + key: weight for key, weight in (tensors | vision).items()}, path)
    torch.testing.assert_close(dict(text_state(str(path), shapes, {})), tensors, rtol=0, atol=0)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.model."])
def test_the_text_tower_of_hugging_face_is_read_behind_any_prefix(
    prefix: str, clip: Path, path: Path
) -> None:
    state = load_file(clip / "model.safetensors")
    save_file({prefix + key: weight for key, weight in state.items()}, path)
    actual, expected = (dict(text_state(str(p), text_shapes(), {})) for p in (path, clip))
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_a_text_tower_in_a_part_of_its_own_has_its_scale_beside_it(path: Path) -> None:
    shapes = text_shapes()
    tensors = {key: torch.full(shape, float(i)) for i, (key, shape) in enumerate(shapes.items())}
    inside = {f"text.{key}": weight for key, weight in tensors.items() if key != "logit_scale"}
    trunk = {"visual.trunk.patch_embed.proj.weight": torch.zeros(2)}
    save_file({**inside, **trunk, "logit_scale": tensors["logit_scale"]}, path)
    torch.testing.assert_close(dict(text_state(str(path), shapes, {})), tensors, rtol=0, atol=0)


def test_a_vision_tower_alone_has_no_text_tower(vision: Path) -> None:
    complaint = (
        r"model\.safetensors has no text tower of a known form: its keys \(.*\) are not those of "
        r"Hugging Face CLIP or open_clip\.$"
    )
    with pytest.raises(CheckpointError, match=complaint):
        text_state(str(vision), text_shapes(), {})


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"layers": 3}, r"'transformer\.resblocks\.2\.ln_1\.weight' is missing"),
        ({"layers": 1}, r"'text_model\.encoder\.layers\.1\..*' is not a part of it"),
        ({"embed_dim": 48}, r"'text_projection' has shape \(32, 32\) instead of \(32, 48\)"),
    ],
)
def test_a_text_tower_of_another_architecture_is_refused(
    options: dict[str, int], difference: str, clip: Path
) -> None:
    complaint = (
        r"The text tower in .*model\.safetensors does not fit the `text_tower` of the suite: "
        rf"{difference}\. Give the name under which open_clip knows this model\."
    )
    with pytest.raises(CheckpointError, match=complaint):
        text_state(str(clip), text_shapes(**options), {})

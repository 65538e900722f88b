"""Adapters that PEFT makes are added as PEFT adds them, and refused where they do not fit."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.lora_adapters import (
    BACKBONE,
    WEIGHTS,
    base_encoder,
    change_config,
    change_tensors,
    train_by_peft,
)
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from wemoe_pl.checkpoints import Backbone, encoder_state, factors_of, load_encoder
from wemoe_pl.checkpoints.heads import CosineHead, load_head, save_head
from wemoe_pl.errors import CheckpointError

TOWER: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 16, "projection_dim": 8,
}  # fmt: skip
TEXT: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "vocab_size": 50, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CLIP = "vit_base_patch32_clip_quickgelu_224"
QKV = "blocks.0.attn.qkv"


@pytest.fixture
def base(tmp_path: Path) -> str:
    return str(tmp_path / "base.safetensors")


@pytest.fixture
def adapter(tmp_path: Path, base: str) -> Path:
    """An adapter of rank 4 of two layers of every block."""
    train_by_peft(base_encoder(Path(base)), tmp_path / "lora", r=4, target_modules=["qkv", "fc1"])
    return tmp_path / "lora"


@pytest.mark.parametrize(
    "options",
    [
        {"r": 4, "lora_alpha": 8, "target_modules": ["qkv", "fc1"]},
        {"r": 4, "lora_alpha": 8, "use_rslora": True, "target_modules": "all-linear"},
        {"r": 2, "target_modules": ["patch_embed.proj", "fc2"], "bias": "lora_only"},
        {"r": 2, "target_modules": ["qkv"], "modules_to_save": ["norm"], "bias": "all"},
        {"r": 2, "target_modules": ["qkv"], "layers_to_transform": [1], "layers_pattern": "blocks"},
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["qkv", "fc1"],
            "rank_pattern": {QKV: 2},
            "alpha_pattern": {"fc1": 5},
        },
    ],
    ids=lambda options: " ".join(options),
)
@pytest.mark.filterwarnings("ignore:.*does not name the model")
def test_an_adapter_of_a_timm_model_is_added_as_peft_adds_it(
    options: dict[str, Any], base: str, tmp_path: Path
) -> None:
    expected = train_by_peft(base_encoder(Path(base)), tmp_path / "lora", **options).state_dict()
    ours = encoder_state(str(tmp_path / "lora"), BACKBONE, base=base)
    assert ours.keys() == expected.keys()
    before = load_file(base)
    for key, weight in expected.items():
        torch.testing.assert_close(ours[key], weight, rtol=0, atol=1e-6)
        if factors := ours.factors(key):
            left, right = factors
            change = (weight - before[key]).flatten(1)
            torch.testing.assert_close(left @ right, change, rtol=0, atol=1e-6)
            assert left.shape[1] <= options["r"]
        else:  # a vector, or a tensor that was trained as a whole
            assert weight.ndim == 1


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (CLIPVisionModel, {"target_modules": ["q_proj", "v_proj"]}),
        (CLIPVisionModelWithProjection, {"target_modules": "all-linear", "use_rslora": True}),
        (CLIPVisionModelWithProjection, {"target_modules": ["k_proj"], "bias": "all"}),
        (CLIPModel, {"target_modules": ["q_proj", "fc1"]}),
    ],
)
def test_an_adapter_of_a_clip_model_is_added_as_peft_adds_it(
    kind: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    vision = CLIPVisionConfig(**TOWER)
    whole = CLIPConfig(vision_config=TOWER, text_config=TEXT, projection_dim=8)
    model = kind(whole if kind is CLIPModel else vision)
    model.save_pretrained(tmp_path / "base")
    model.name_or_path = str(tmp_path / "base")
    merged: Any = train_by_peft(model, tmp_path / "lora", r=4, **options)
    merged.save_pretrained(tmp_path / "merged")
    size = {key: BACKBONE.options[key] for key in BACKBONE.options}
    backbone = Backbone(CLIP, {**size, "num_classes": 0 if kind is CLIPVisionModel else 8})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*also adapts other parts")
        ours = encoder_state(str(tmp_path / "lora"), backbone, base=str(tmp_path / "base"))
    for key, weight in encoder_state(str(tmp_path / "merged"), backbone).items():
        torch.testing.assert_close(ours[key], weight, rtol=0, atol=1e-6)
    qkv = ours.factors("blocks.1.attn.qkv.weight")
    assert qkv is not None
    names = options["target_modules"]
    count = (
        3
        if names == "all-linear"
        else sum(name in names for name in ("q_proj", "k_proj", "v_proj"))
    )
    assert qkv[0].shape == (48, 4 * count)


@pytest.mark.filterwarnings("ignore:.*does not name the model")
def test_an_adapter_of_a_text_tower_is_not_read_and_a_warning_says_so(tmp_path: Path) -> None:
    model = CLIPModel(CLIPConfig(vision_config=TOWER, text_config=TEXT, projection_dim=8))
    model.save_pretrained(tmp_path / "base")
    train_by_peft(model, tmp_path / "lora", target_modules=["q_proj"])
    backbone = Backbone(CLIP, {**BACKBONE.options, "num_classes": 8})
    with pytest.warns(UserWarning, match=r"also adapts other parts .*text_model.* text tower of"):
        encoder_state(str(tmp_path / "lora"), backbone, base=str(tmp_path / "base"))


@pytest.mark.filterwarnings("ignore:.*does not name the model")
def test_the_head_of_an_adapted_classifier_is_read_by_itself(base: str, tmp_path: Path) -> None:
    model = base_encoder(Path(base), classes=3)
    options: dict[str, Any] = {"target_modules": ["qkv"], "modules_to_save": ["head"]}
    expected: Any = train_by_peft(model, tmp_path / "lora", **options)
    load_encoder(str(tmp_path / "lora"), BACKBONE, base=base)
    head = load_head(str(tmp_path / "lora"), lambda: ("a", "b", "c"))
    features = torch.randn(2, 16)
    torch.testing.assert_close(head(features), expected.head(features))


@pytest.mark.filterwarnings("ignore:.*does not name the model")
def test_a_head_that_is_not_in_an_adapter_is_missed_by_name(adapter: Path) -> None:
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors is not a class.* head"):
        load_head(str(adapter))


def test_a_head_that_was_adapted_and_not_trained_as_a_whole_is_refused(
    base: str, tmp_path: Path
) -> None:
    train_by_peft(base_encoder(Path(base), classes=3), tmp_path / "lora", target_modules=["head"])
    with pytest.raises(CheckpointError, match=r"has '\S+head\.lora_A\S+', a LoRA of a head"):
        load_head(str(tmp_path / "lora"), lambda: ("a", "b", "c"))


def test_the_head_beside_an_adapter_is_read_in_silence(adapter: Path) -> None:
    head = CosineHead(torch.eye(3, 16), ("a", "b", "c"), logit_scale=10.0)
    save_head(adapter / "head.safetensors", head, {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_head(str(adapter)).classes == ("a", "b", "c")


def test_whole_weights_know_no_factors(base: str) -> None:
    base_encoder(Path(base))
    assert factors_of(encoder_state(base, BACKBONE), f"{QKV}.weight") is None


def refused(adapter: Path, base: str, complaint: str, backbone: Backbone = BACKBONE) -> None:
    """The adapter ends in one sentence, which begins with its file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not name the model")
        with pytest.raises(CheckpointError, match=complaint) as error:
            encoder_state(str(adapter), backbone, base=base)
    assert str(error.value).startswith(str(adapter))


def test_an_adapter_of_another_architecture_is_refused(adapter: Path, base: str) -> None:
    wide = Backbone(BACKBONE.model, {**BACKBONE.options, "embed_dim": 32})
    complaint = r"adds a matrix of shape \(48, 16\) to 'blocks\.0\.attn\.qkv', whose .* \(96, 32\)"
    refused(adapter, base, complaint, wide)
    shallow = Backbone(BACKBONE.model, {**BACKBONE.options, "depth": 1})
    refused(adapter, base, r"changes 'blocks\.1\.\S+', which the backbone does not have", shallow)


def test_an_adapter_of_an_unknown_model_is_refused(adapter: Path, base: str) -> None:
    state = load_file(adapter / WEIGHTS)
    save_file({re.sub("blocks", "stages", key): t for key, t in state.items()}, adapter / WEIGHTS)
    refused(adapter, base, r"adapts 'stages\.0\.\S+', .* and no layer of the backbone")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"0__attn__qkv__lora_A__weight": torch.zeros(3, 16)},
            r"for 'blocks\.0\.attn\.qkv', lora_B has shape \(48, 4\) and lora_A \(3, 16\)",
        ),
        ({"0__attn__qkv__lora_A__weight": None}, r"has no lora_A for 'blocks\.0\.attn\.qkv'"),
        ({"1__mlp__fc1__lora_B__weight": None}, r"has no lora_B for 'blocks\.1\.mlp\.fc1'"),
    ],
)
def test_thin_matrices_that_are_missing_or_have_no_product_are_named(
    change: dict[str, torch.Tensor | None], complaint: str, adapter: Path, base: str
) -> None:
    change_tensors(adapter, **change)
    refused(adapter, base, complaint)


def test_a_layer_that_the_config_names_and_the_file_lacks_is_named(
    adapter: Path, base: str
) -> None:
    missing = {f"1__attn__qkv__lora_{side}__weight": None for side in "AB"}
    change_tensors(adapter, **missing)
    refused(adapter, base, r"has nothing for 'blocks\.1\.attn\.qkv', which adapter_config\.json")


def test_a_layer_that_the_config_does_not_name_is_refused(adapter: Path, base: str) -> None:
    change_config(adapter, target_modules=["qkv"])
    refused(adapter, base, r"adapts 'blocks\.\d\.mlp\.fc1', which adapter_config\.json does not")


def test_another_rank_than_the_config_says_is_refused(adapter: Path, base: str) -> None:
    change_config(adapter, r=8)
    refused(
        adapter, base, r"has a rank of 4 for 'blocks\.\d\.\S+', but adapter_config\.json says 8"
    )
    change_config(adapter, r=4, rank_pattern={QKV: 2})
    refused(adapter, base, rf"has a rank of 4 for '{QKV}', but adapter_config\.json says 2")


def test_a_tensor_of_another_shape_or_kind_is_refused(adapter: Path, base: str) -> None:
    state = load_file(adapter / WEIGHTS)
    root = "base_model.model."
    save_file({**state, f"{root}norm.bias": torch.zeros(3)}, adapter / WEIGHTS)
    refused(adapter, base, r"replaces 'norm\.bias' by a tensor of shape \(3,\), .* \(16,\)")
    save_file({**state, f"{root}pooler.bias": torch.zeros(3)}, adapter / WEIGHTS)
    refused(adapter, base, r"changes 'pooler\.bias', which the backbone does not have")
    dora = f"{root}{QKV}.lora_magnitude_vector"
    save_file({**state, dora: torch.zeros(48)}, adapter / WEIGHTS)
    refused(
        adapter, base, r"has a '\S+lora_magnitude_vector', and plain LoRA has no .*merge_and_un"
    )


def test_the_names_that_tensors_have_in_memory_are_refused(adapter: Path, base: str) -> None:
    state = load_file(adapter / WEIGHTS)
    in_memory = {key.replace(".weight", ".default.weight"): t for key, t in state.items()}
    save_file(in_memory, adapter / WEIGHTS)
    refused(adapter, base, r"'\S+lora_A\.default\.weight', as .* in memory .* `save_pretrained`")


@pytest.mark.parametrize("tensors", [{}, {"base_model.model.norm.bias": torch.zeros(16)}])
def test_a_file_without_thin_matrices_is_no_adapter(
    tensors: dict[str, torch.Tensor], adapter: Path, base: str
) -> None:
    save_file(tensors, adapter / WEIGHTS)
    refused(adapter, base, r"has no matrices 'lora_A' and 'lora_B', .*: copy or download it again")


def test_numbers_that_are_not_finite_are_refused(adapter: Path, base: str) -> None:
    change_tensors(adapter, **{"0__attn__qkv__lora_A__weight": torch.full((4, 16), torch.nan)})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not name the model")
        state = encoder_state(str(adapter), BACKBONE, base=base)
    with pytest.raises(CheckpointError, match=r"has NaN or infinite weights in '\S+qkv\.lora_A"):
        _ = state[f"{QKV}.weight"]


def test_a_module_that_was_trained_as_a_whole_and_is_not_there_is_named(
    adapter: Path, base: str
) -> None:
    change_config(adapter, modules_to_save=["norm"])
    refused(
        adapter, base, r"has nothing for 'norm', which adapter_config\.json names among its mod"
    )


@pytest.mark.filterwarnings("ignore:.*does not name the model")
def test_trained_biases_that_were_not_saved_are_missed(adapter: Path, base: str) -> None:
    """As PEFT saved adapters up to version 0.20."""
    change_config(adapter, bias="lora_only")
    with pytest.warns(UserWarning, match=r"has no biases, although adapter_config\.json says that"):
        encoder_state(str(adapter), BACKBONE, base=base)


def test_an_adapter_is_no_model_by_itself(adapter: Path) -> None:
    complaint = r"adapter_model\.safetensors is an adapter and no model: use it as an expert, or g"
    with pytest.raises(CheckpointError, match=complaint):
        load_encoder(str(adapter), BACKBONE)
    change_config(adapter, base_model_name_or_path="lab/vit")
    with pytest.raises(CheckpointError, match=r"is an adapter of lab/vit and no model"):
        load_encoder(str(adapter), BACKBONE)


def test_the_weights_of_an_adapter_may_be_a_pickle_of_tensors(adapter: Path, base: str) -> None:
    expected = dict(load_file(adapter / WEIGHTS))
    (adapter / WEIGHTS).unlink()
    torch.save(expected, adapter / "adapter_model.bin")
    change_config(adapter, base_model_name_or_path=base)
    state = encoder_state(str(adapter), BACKBONE, base=base)
    assert not torch.equal(state[f"{QKV}.weight"], load_file(base)[f"{QKV}.weight"])

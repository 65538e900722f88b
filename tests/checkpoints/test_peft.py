"""An adapter is named as what it is, with what turns it into a model."""

import re

import pytest

from wemoe_pl.checkpoints.peft import check_is_no_adapter
from wemoe_pl.errors import CheckpointError

LAYER = "base_model.model.vision_model.encoder.layers.0.self_attn.v_proj"


@pytest.mark.parametrize(
    "part",
    [
        "lora_A.weight",
        "lora_B.default.weight",
        "lora_magnitude_vector.weight",
        "hada_w1_a",
        "lokr_w2",
        "ia3_l",
        "oft_r.default",
        "boft_R",
        "vera_lambda_b",
    ],
)
def test_an_adapter_is_named_by_its_parts(part: str) -> None:
    complaint = (
        rf"^a\.safetensors holds an adapter of PEFT \('{re.escape(LAYER)}\.{part}'\) and no model: "
        r"an adapter is read from the folder .* adapter_model\.safetensors and adapter_config\.json"
    )
    with pytest.raises(CheckpointError, match=complaint):
        check_is_no_adapter("a.safetensors", [f"{LAYER}.{part}"])


def test_a_model_with_its_adapter_not_merged_is_told_from_an_adapter_alone() -> None:
    keys = [f"{LAYER}.base_layer.weight", f"{LAYER}.lora_A.default.weight"]
    complaint = (
        r"^a\.pt is a model of PEFT with an adapter \('.*lora_A\.default\.weight'\) that is not "
        r"merged into its weights: call `merge_and_unload\(\)`, and save the model that it returns"
    )
    with pytest.raises(CheckpointError, match=complaint):
        check_is_no_adapter("a.pt", keys)


@pytest.mark.parametrize("key", ["blocks.0.lora.weight", "exploration_A.weight", "base_model.x"])
def test_other_keys_are_of_no_adapter(key: str) -> None:
    check_is_no_adapter("a.pt", [key])

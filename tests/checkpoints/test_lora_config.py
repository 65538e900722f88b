"""The config of an adapter: what is read, and what is refused because it changes the formula."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig

from wemoe_pl.checkpoints.lora_config import LoRAConfig
from wemoe_pl.errors import CheckpointError

LAYER = "blocks.0.mlp.fc1"
PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["qkv", "fc1"]}


def read(folder: Path, **settings: Any) -> LoRAConfig:
    """Read a plain config with other settings."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**PLAIN, **settings}))
    return LoRAConfig.read(path)


def test_what_peft_writes_is_read_and_every_setting_of_it_is_known(tmp_path: Path) -> None:
    LoraConfig(r=4, lora_alpha=8, target_modules=["qkv"]).save_pretrained(str(tmp_path))
    config = LoRAConfig.read(tmp_path / "adapter_config.json")
    assert (config.rank, config.alpha, config.targets) == (4, 8, ("qkv",))
    assert config.is_complete
    assert not config.base


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, 2.0),
        ({"use_rslora": True}, 4.0),
        ({"rank_pattern": {"fc1": 2}}, 4.0),
        ({"alpha_pattern": {"mlp.fc1": 2}}, 0.5),
        ({"alpha_pattern": {"my_fc1": 2}}, 2.0),
        ({"rank_pattern": {LAYER: 9}, "alpha_pattern": {"fc1": 6}, "use_rslora": True}, 2.0),
        ({"lora_alpha": 0.5}, 0.125),
    ],
)
def test_the_scale_is_alpha_by_the_rank_or_its_root(
    settings: dict[str, Any], scale: float, tmp_path: Path
) -> None:
    assert math.isclose(read(tmp_path, **settings).scale(LAYER), scale)


def test_only_a_list_of_names_says_what_is_adapted(tmp_path: Path) -> None:
    listed, pattern = read(tmp_path), read(tmp_path, target_modules=r".*\.fc[12]")
    assert [listed.targets_layer(layer) for layer in (LAYER, "blocks.0.mlp.fc2")] == [True, False]
    assert pattern.targets is None
    assert pattern.targets_layer("anything")
    assert not read(tmp_path, layers_to_transform=[1]).is_complete


@pytest.mark.parametrize("kind", ["ADALORA", "LOHA", "IA3", "lora", ""])
def test_another_kind_of_adapter_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    complaint = (
        rf"config of a PEFT adapter of type {kind}, and only LoRA is read: load it .*merge_and_un"
    )
    with pytest.raises(CheckpointError, match=complaint):
        read(tmp_path, peft_type=kind)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"lora_bias": True},
        {"fan_in_fan_out": True},
        {"layer_replication": [[0, 2]]},
        {"target_parameters": ["weight"]},
        {"invented_later": {"x": 1}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_changes_the_formula_is_refused_by_name(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    [name] = settings
    with pytest.raises(CheckpointError, match=rf"sets '{name}', with which an adapter is not add"):
        read(tmp_path, **settings)


@pytest.mark.parametrize("start", ["pissa", "olora", "loftq", "corda", "lora_ga", {"x": 1}])
def test_an_initialisation_that_changes_the_base_is_refused(start: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"initialised by .*, which also changes the weights"):
        read(tmp_path, init_lora_weights=start)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"r": 0}, "its 'r' is '0' instead of a number above 0"),
        ({"r": "8"}, "its 'r' is '8' instead of a number above 0"),
        ({"lora_alpha": "much"}, "its 'lora_alpha' is 'much' instead of a number"),
        ({"lora_alpha": float("nan")}, "its 'lora_alpha' is nan"),
        ({"use_rslora": "yes"}, "its 'use_rslora' is 'yes' instead of true or false"),
        ({"rank_pattern": ["fc1"]}, "its 'rank_pattern' is .* instead of an object"),
        ({"rank_pattern": {"fc1": -1}}, "its 'rank_pattern' is '-1' for 'fc1' instead of a number"),
        ({"rank_pattern": {"fc1": True}}, "its 'rank_pattern' is 'True' for 'fc1'"),
        ({"alpha_pattern": {"fc1": None}}, "its 'alpha_pattern' is 'None' for 'fc1'"),
        ({"alpha_pattern": {"(a+)+$": 2}}, r"regular expression '\(a\+\)\+\$' in its 'alpha_pat"),
        ({"modules_to_save": 3}, "its 'modules_to_save' is '3' instead of a list of texts"),
        ({"modules_to_save": [3]}, r"its 'modules_to_save' is '\[3\]' instead of a list of texts"),
        ({"base_model_name_or_path": 3}, "its 'base_model_name_or_path' is '3' instead of a text"),
    ],
)
def test_a_damaged_config_ends_in_one_sentence(
    settings: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=complaint) as error:
        read(tmp_path, **settings)
    assert str(tmp_path / "adapter_config.json") in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"peft_type": ["LORA"]}', "[" * 100_000])
def test_what_is_no_config_at_all_ends_in_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "adapter_config.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"adapter_config\.json"):
        LoRAConfig.read(path)


def test_a_missing_config_says_why_it_is_needed(tmp_path: Path) -> None:
    complaint = r"^There is no \S+adapter_config\.json: copy it there .* how they are scaled\.$"
    with pytest.raises(CheckpointError, match=complaint):
        LoRAConfig.read(tmp_path / "adapter_config.json")

"""Adapters that are written are read back, by this program and by PEFT."""

import json
from pathlib import Path

import torch
from helpers.lora_adapters import BACKBONE, CONFIG, base_encoder
from peft import PeftModel

from wemoe_pl.checkpoints import encoder_state, load_encoder
from wemoe_pl.checkpoints.lora_writing import write_lora

LAYERS = {"blocks.0.attn.qkv": (48, 16), "blocks.1.mlp.fc2": (16, 64)}


def written(folder: Path, base: str) -> Path:
    """An adapter of rank 2 of two layers, with a scale of 3."""
    torch.manual_seed(0)
    layers = {name: (torch.randn(m, 2), torch.randn(2, n)) for name, (m, n) in LAYERS.items()}
    write_lora(folder / "lora", layers, {"r": 2, "lora_alpha": 6}, base, {"seed": "0"})
    return folder / "lora"


def test_peft_and_this_program_read_the_same(tmp_path: Path) -> None:
    base = str(tmp_path / "base.safetensors")
    encoder = base_encoder(Path(base))
    (tmp_path / "lora").mkdir()
    folder = written(tmp_path, base)
    ours = load_encoder(str(folder), BACKBONE, base=base)
    by_peft = PeftModel.from_pretrained(encoder, str(folder)).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), by_peft(images))
    assert not torch.allclose(ours(images), load_encoder(base, BACKBONE)(images))


def test_the_base_is_named_as_the_hub_does(tmp_path: Path) -> None:
    (tmp_path / "lora").mkdir()
    base_encoder(tmp_path / "a.safetensors")
    config = json.loads((written(tmp_path, str(tmp_path / "a.safetensors")) / CONFIG).read_text())
    assert config["base_model_name_or_path"] == str(tmp_path / "a.safetensors")
    assert config["target_modules"] == sorted(LAYERS)
    state = encoder_state(str(tmp_path / "lora"), BACKBONE, base=str(tmp_path / "a.safetensors"))
    factors = state.factors("blocks.0.attn.qkv.weight")
    assert factors is not None
    assert factors[0].shape == (48, 2)

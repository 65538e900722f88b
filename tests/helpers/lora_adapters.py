"""LoRA adapters of a small encoder, made by PEFT itself."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wemoe_pl.checkpoints import Backbone

OPTIONS: dict[str, Any] = {
    "img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2,
}  # fmt: skip
BACKBONE = Backbone("vit_tiny_patch16_224", OPTIONS)
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def base_encoder(path: Path, classes: int = 0) -> nn.Module:
    """A random encoder, whose weights are written to a file."""
    torch.manual_seed(0)
    encoder = timm.create_model(BACKBONE.model, num_classes=classes, **OPTIONS)
    save_file(encoder.state_dict(), path)
    return encoder


def train_by_peft(base: nn.Module, folder: Path, seed: int = 1, **options: Any) -> nn.Module:
    """Save an adapter with random thin matrices, and return the encoder that PEFT makes of it."""
    adapted = get_peft_model(base, LoraConfig(**options))
    torch.manual_seed(seed)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(str(folder))
    merged: nn.Module = adapted.merge_and_unload()
    return merged.eval()


def change_config(folder: Path, **settings: Any) -> None:
    """Write other settings into an adapter's config."""
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def change_tensors(folder: Path, **tensors: Tensor | None) -> None:
    """Replace tensors of an adapter, by the ends of their keys; None removes one."""
    state = load_file(folder / WEIGHTS)
    for end, tensor in tensors.items():
        [key] = [key for key in state if key.endswith(end.replace("__", "."))]
        del state[key]
        if tensor is not None:
            state[key] = tensor
    save_file(state, folder / WEIGHTS)

"""Write LoRA adapters as PEFT reads them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from wemoe_pl.checkpoints.encoder import ENCODER_FILE
from wemoe_pl.checkpoints.lora import ROOT
from wemoe_pl.checkpoints.lora_base import BASE_DIGEST
from wemoe_pl.checkpoints.peft import ADAPTER_CONFIG, ADAPTER_FILES
from wemoe_pl.checkpoints.sources import IN_MEMORY, fingerprint
from wemoe_pl.checkpoints.state import Factors
from wemoe_pl.checkpoints.writing import save_tensors
from wemoe_pl.system.files import atomic_write
from wemoe_pl.system.hub_repo import HubRepo


def write_lora(
    folder: Path,
    layers: Mapping[str, Factors],
    settings: Mapping[str, Any],
    base: str,
    metadata: Mapping[str, str],
    dtype: torch.dtype | None = None,
) -> None:
    """Write the weights and the config of an adapter of a timm encoder.

    The SHA-256 of the base goes into the metadata of the weights, so that nobody adds the adapter
    to another model by mistake.

    Args:
        folder: the folder of the two files.
        layers: B, (m, R), and A, (R, n), of each layer, by the layer's name in timm.
        settings: the settings of ranks and scales, by the names that PEFT gives them.
        base: the source of the encoder that the adapter was trained from.
        metadata: the provenance of the weights.
        dtype: the data type in which the weights are stored; by default their own.
    """
    known = base and base != IN_MEMORY
    digest = {BASE_DIGEST: fingerprint(base, ENCODER_FILE)} if known else {}
    tensors = {f"{ROOT}{layer}.lora_B.weight": left for layer, (left, _) in layers.items()}
    tensors |= {f"{ROOT}{layer}.lora_A.weight": right for layer, (_, right) in layers.items()}
    save_tensors(folder / ADAPTER_FILES[0], tensors, {**metadata, **digest}, dtype)
    repo = HubRepo.parse(base, "model")
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": repo.name if repo else base or None,
        "revision": repo.revision if repo and repo.revision != "main" else None,
        "target_modules": sorted(layers),
        "inference_mode": True,
        **settings,
    }
    with atomic_write(folder / ADAPTER_CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

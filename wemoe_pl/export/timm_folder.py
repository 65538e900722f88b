"""Write a folder that `timm.create_model` loads: a plain encoder, or the architecture `wemoe`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from wemoe_pl.checkpoints import save_tensors
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.model.architecture import own_state
from wemoe_pl.system.files import atomic_write

CONFIG_FILE = "config.json"  # both names are timm's
WEIGHTS_FILE = "model.safetensors"


def write_timm(model: ExportedModel, folder: Path) -> None:
    """Write weights, and a config from which timm builds the encoder and prepares images for it."""
    save_tensors(folder / WEIGHTS_FILE, own_state(model.classifier.encoder), {"format": "pt"})
    write_timm_config(timm_config(model, as_wemoe=not model.is_plain), folder)


def write_timm_config(config: dict[str, Any], folder: Path) -> None:
    """Write a config where timm looks for it."""
    with atomic_write(folder / CONFIG_FILE) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n")


def timm_config(model: ExportedModel, as_wemoe: bool) -> dict[str, Any]:
    """Describe a model as timm does: its architecture, its arguments, its preprocessing.

    Args:
        model: the model.
        as_wemoe: True for the architecture `wemoe`, which timm knows once
            `wemoe_pl.model.architecture` is imported; False for that of the backbone.
    """
    architecture, backbone = model.architecture, model.suite.backbone
    plain: Any = backbone.skeleton()
    arguments = asdict(architecture) if as_wemoe else architecture.options
    cfg = plain.pretrained_cfg
    named = {key: cfg[key] for key in ("first_conv", "classifier") if cfg.get(key)}
    # The rest of timm's own config is left out, since it names a file on the hub to load instead.
    config: dict[str, Any] = {
        "architecture": "wemoe" if as_wemoe else architecture.backbone,
        "num_classes": plain.num_classes,
        "num_features": plain.num_features,
        "model_args": {"num_classes": plain.num_classes, **arguments},
        "pretrained_cfg": {
            **model.preprocessing.config,
            **named,
            "num_classes": plain.num_classes,
            "fixed_input_size": bool(cfg.get("fixed_input_size")),
        },
    }
    if model.task:
        # transformers gives the number of classes itself, and refuses to be given it twice.
        del config["model_args"]["num_classes"]
        config["label_names"] = list(model.whole.classifier.head(model.task).classes)
    return config


@torch.no_grad()
def timm_features(folder: Path, images: Tensor) -> Tensor:
    """Compute the features of images (B, 3, H, W) by the written encoder in timm."""
    encoder = timm.create_model(f"local-dir:{folder}", pretrained=True)
    features: Tensor = encoder.eval()(images)
    return features

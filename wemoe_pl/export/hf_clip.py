"""Write a vision tower for Hugging Face's CLIP, with the projection if the encoder has one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from wemoe_pl.checkpoints import HEAD, HUGGING_FACE_CLIP, State
from wemoe_pl.checkpoints.hyperparameters import activation_name
from wemoe_pl.errors import MergeError
from wemoe_pl.export.exported import ExportedModel

if TYPE_CHECKING:
    from transformers import CLIPVisionConfig, PreTrainedModel

TOWER = "vision_model."
PROJECTION = "visual_projection.weight"
ACTIVATIONS = ("quick_gelu", "gelu")


def plain_clip(model: ExportedModel) -> ExportedModel:
    """Return a model as it is; raise `MergeError` unless it is a plain tower of CLIP's form."""
    if not model.is_plain:
        raise MergeError(
            f"{model.merge.label} mixes weights for every image anew, which Hugging Face's CLIP "
            "models do not: choose the format timm or bundle, or a router of depth 0."
        )
    encoder: Any = model.classifier.encoder
    state = encoder.state_dict()
    is_known = activation_name(encoder.blocks[0].mlp.act) in ACTIVATIONS
    if not is_known or "norm_pre.weight" not in state or "cls_token" not in state:
        raise MergeError(
            f"The backbone '{model.suite.backbone.model}' is not a vision tower of CLIP's form: "
            "choose the format timm or bundle."
        )
    if (bias := state.get(f"{HEAD}bias")) is not None and bias.any():
        raise MergeError(
            "The encoder ends in a projection with a bias, which Hugging Face's CLIP models lack: "
            "choose the format timm or bundle."
        )
    return model


def write_hf(model: ExportedModel, folder: Path) -> None:
    """Write the tower, its config and the config of its image processor."""
    from transformers import CLIPImageProcessor

    encoder = model.classifier.encoder
    data = model.preprocessing.config
    tower = empty_model(clip_config(encoder, data))
    tower.load_state_dict(hugging_face_state(encoder.state_dict(), tower.state_dict()))
    tower.save_pretrained(folder)
    _, height, width = data["input_size"]
    size = {"height": height, "width": width}
    is_squashed = data["crop_mode"] == "squash"  # to the size, whatever the shape of the image is
    CLIPImageProcessor(
        size=size if is_squashed else {"shortest_edge": min(height, width)},
        crop_size=size,
        do_center_crop=not is_squashed,
        resample=Image.Resampling[data["interpolation"].upper()],
        image_mean=list(data["mean"]),
        image_std=list(data["std"]),
    ).save_pretrained(folder)


def clip_config(encoder: Any, data: dict[str, Any]) -> "CLIPVisionConfig":
    """Describe a tower as transformers does: its sizes, its activation and its class."""
    from transformers import CLIPVisionConfig

    block = encoder.blocks[0]
    name = "CLIPVisionModelWithProjection" if encoder.num_classes else "CLIPVisionModel"
    return CLIPVisionConfig(
        hidden_size=encoder.embed_dim,
        intermediate_size=block.mlp.fc1.out_features,
        projection_dim=encoder.num_classes or encoder.embed_dim,
        num_hidden_layers=len(encoder.blocks),
        num_attention_heads=block.attn.num_heads,
        image_size=data["input_size"][-1],
        patch_size=encoder.patch_embed.patch_size[0],
        hidden_act=activation_name(block.mlp.act),
        layer_norm_eps=block.norm1.eps,
        architectures=[name],
    )


def empty_model(config: "CLIPVisionConfig") -> "PreTrainedModel":
    """Make a tower of the class and the sizes that its config names."""
    import transformers

    [name] = config.architectures or ["CLIPVisionModel"]
    kind: type[PreTrainedModel] = getattr(transformers, name)
    return kind(config)


def hugging_face_state(state: State, theirs: State) -> dict[str, Tensor]:
    """Translate timm's keys and tensors into Hugging Face's.

    Args:
        state: the weights of a timm encoder.
        theirs: the weights of the tower that is to load them.
    """
    prefix = TOWER if any(key.startswith(TOWER) for key in theirs) else ""
    found = {}
    for key, tensor in state.items():
        if key == f"{HEAD}weight":
            found[PROJECTION] = tensor
        elif key != f"{HEAD}bias":  # it is zero: see `plain_clip`
            names, parts = HUGGING_FACE_CLIP.undone(key, tensor)
            found |= {f"{prefix}{n}": part for n, part in zip(names, parts, strict=True)}
    return found


@torch.no_grad()
def hf_features(folder: Path, images: Tensor) -> Tensor:
    """Compute the features of images (B, 3, H, W) by the written tower in transformers."""
    from transformers import CLIPVisionConfig

    config = CLIPVisionConfig.from_pretrained(folder)
    model: Any = type(empty_model(config)).from_pretrained(folder, local_files_only=True)
    out = model.eval()(pixel_values=images)
    features: Tensor = out.image_embeds if "image_embeds" in out else out.pooler_output
    return features

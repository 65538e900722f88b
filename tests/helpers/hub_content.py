"""Fills a folder for `LoopbackHub`: tiny models and datasets, laid out as the real ones are."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from helpers.hub_datasets import write_datasets
from safetensors.torch import load_file, save_file
from torch import Tensor

# The hub's name of every task's expert, where it is not ours.
EXPERT_NAMES = {
    "cars": "stanford-cars",
    "flowers102": "oxford_flowers102",
    "pets": "oxford-iiit-pet",
    "rendered_sst2": "rendered-sst2",
}

# The patch size and whether there is a .bin, not .safetensors; the image is 4 patches wide.
CLIPS = {"base-patch32": (32, True), "base-patch16": (16, False), "large-patch14": (14, False)}


def write_clip(
    folder: Path,
    seed: int,
    *,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    image_size: int = 64,
    patch_size: int = 16,
    embed_dim: int = 32,
    text_width: int = 32,
    text_layers: int = 2,
    text_heads: int = 2,
    bin: bool = False,
    dtype: torch.dtype = torch.float16,
) -> dict[str, Tensor]:
    """A whole CLIP model, of which the state dict is returned as it was written."""
    tokens = (image_size // patch_size) ** 2 + 1
    vision = {
        "vision_model.embeddings.class_embedding": (width,),
        "vision_model.embeddings.patch_embedding.weight": (width, 3, patch_size, patch_size),
        "vision_model.embeddings.position_embedding.weight": (tokens, width),
        **norm("vision_model.pre_layrnorm", width),  # the typing error is theirs
        **encoder("vision_model", width, layers),
        **norm("vision_model.post_layernorm", width),
        "visual_projection.weight": (embed_dim, width),
    }
    text = {
        "text_model.embeddings.token_embedding.weight": (49408, text_width),
        "text_model.embeddings.position_embedding.weight": (77, text_width),
        **encoder("text_model", text_width, text_layers),
        **norm("text_model.final_layer_norm", text_width),
        "text_projection.weight": (embed_dim, text_width),
    }
    state = random_state({**vision, **text}, seed, dtype)
    state["logit_scale"] = torch.tensor(4.6052, dtype=dtype)
    for tower, size in (("vision", tokens), ("text", 77)):
        state[f"{tower}_model.embeddings.position_ids"] = torch.arange(size).unsqueeze(0)
    towers = {
        "vision_config": vision_config(state, heads, embed_dim),
        "text_config": text_config(text_width, text_layers, text_heads, embed_dim),
    }
    about = {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": embed_dim}
    dtype_name = {"torch_dtype": str(dtype).removeprefix("torch.")}
    scale = {"initializer_factor": 1.0, "logit_scale_init_value": 2.6592}
    write_model(folder, state, {**about, **dtype_name, **scale, **towers}, bin)
    return state


def write_expert(
    folder: Path, pretrained: Path | Mapping[str, Tensor], seed: int, heads: int = 4
) -> dict[str, Tensor]:
    """A fine-tuned vision tower; `heads` is what a state dict does not tell about itself."""
    if isinstance(pretrained, Path):
        config = json.loads((pretrained / "config.json").read_text())
        heads = config["vision_config"]["num_attention_heads"]
        pretrained = read_model(pretrained)
    # What newer versions of transformers save has no position_ids.
    tower = {
        name: weight
        for name, weight in sorted(pretrained.items())  # files have an order of their own
        if name.startswith("vision_model.") and not name.endswith("position_ids")
    }
    rng = torch.Generator().manual_seed(seed)
    state = {
        name: (weight.float() + 0.02 * torch.randn(weight.shape, generator=rng)).to(weight.dtype)
        for name, weight in tower.items()
    }
    dtype = str(next(iter(state.values())).dtype).removeprefix("torch.")
    about = {"architectures": ["CLIPVisionModel"], "torch_dtype": dtype}
    write_model(folder, state, {**about, **vision_config(state, heads)})
    return state


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear(name: str, into: int, out: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def encoder(tower: str, width: int, layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in (f"{tower}.encoder.layers.{i}" for i in range(layers)):
        for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= linear(f"{layer}.self_attn.{projection}", width, width)
        shapes |= norm(f"{layer}.layer_norm1", width) | norm(f"{layer}.layer_norm2", width)
        shapes |= linear(f"{layer}.mlp.fc1", width, 4 * width)
        shapes |= linear(f"{layer}.mlp.fc2", 4 * width, width)
    return shapes


def random_state(
    shapes: Mapping[str, tuple[int, ...]], seed: int, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Small weights around 0, but those of norms around 1; biases are not 0, as if trained."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: (0.1 * torch.randn(shape, generator=rng) + is_scale(name)).to(dtype)
        for name, shape in shapes.items()
    }


def is_scale(name: str) -> bool:
    return name.endswith(".weight") and name.split(".")[-2] in {
        *("layer_norm1", "layer_norm2", "pre_layrnorm", "post_layernorm", "final_layer_norm"),
    }


COMMON_CONFIG = {
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "hidden_act": "quick_gelu",
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
}


def vision_config(
    state: Mapping[str, Tensor], heads: int, embed_dim: int = 512
) -> dict[str, object]:
    """`embed_dim`: also of a tower without projection, where it says nothing, as in real ones."""
    width, channels, patch_size, _ = state["vision_model.embeddings.patch_embedding.weight"].shape
    tokens = len(state["vision_model.embeddings.position_embedding.weight"])
    layers = {n.split(".")[3] for n in state if n.startswith("vision_model.encoder.layers.")}
    sizes = {
        "hidden_size": width,
        "image_size": round((tokens - 1) ** 0.5) * patch_size,
        "intermediate_size": 4 * width,
        "num_attention_heads": heads,
        "num_channels": channels,
        "num_hidden_layers": len(layers),
        "patch_size": patch_size,
        "projection_dim": embed_dim,
    }
    return {**COMMON_CONFIG, **sizes, "model_type": "clip_vision_model"}


def text_config(width: int, layers: int, heads: int, embed_dim: int) -> dict[str, object]:
    sizes = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 77,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "projection_dim": embed_dim,
        "vocab_size": 49408,
    }
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}  # wrong, but the real ones
    return {**COMMON_CONFIG, **sizes, **ids, "model_type": "clip_text_model"}


def write_model(
    folder: Path, state: dict[str, Tensor], config: Mapping[str, object], bin: bool = False
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if bin:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def read_model(folder: Path) -> dict[str, Tensor]:
    if (folder / "model.safetensors").is_file():
        return load_file(folder / "model.safetensors")
    state: dict[str, Tensor] = torch.load(folder / "pytorch_model.bin", weights_only=True)
    return state


# --- everything ------------------------------------------------------------------------------


def fill_hub(root: Path, classes: Mapping[str, Sequence[str]]) -> None:
    """Three pretrained models, and for the tasks whose classes are given experts and datasets."""
    for seed, (size, (patch_size, bin)) in enumerate(CLIPS.items()):
        pretrained = root / "models" / "openai" / f"clip-vit-{size}"
        write_clip(pretrained, seed, image_size=4 * patch_size, patch_size=patch_size, bin=bin)
        for i, task in enumerate(classes):
            name = f"clip-vit-{size}_{EXPERT_NAMES.get(task, task)}"
            folder = root / "models" / "tanganke" / name
            write_expert(folder, pretrained, seed=100 * (seed + 1) + i)
    write_datasets(root, classes)

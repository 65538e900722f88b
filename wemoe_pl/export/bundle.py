"""Write and read bundles: the whole classifier in one file, independent of its sources."""

from pathlib import Path

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, open_file, save_tensors
from wemoe_pl.checkpoints.heads import ClassificationHead, CosineHead, LinearHead
from wemoe_pl.errors import CheckpointError, ConfigError, MergeError
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.manifest import MANIFEST, HeadRecord, Manifest, read_manifest
from wemoe_pl.export.timm_folder import timm_config, write_timm_config
from wemoe_pl.merging.wemoe import part_of
from wemoe_pl.model.architecture import ENCODER, TASK_VECTORS, own_state
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised

BUNDLE_FILE = "bundle.safetensors"
HEADS = "heads."
OF_HEADS = (torch.float32, torch.bfloat16, torch.float16)  # as stored; heads compute in float32


def parse_compression(text: str) -> Compression:
    """Parse the form of a dictionary from the option `--dictionary`.

    Raises:
        ConfigError: the text names no form.
        MergeError: the number in it is out of range.

    >>> parse_compression("pruned=0.9")
    Pruned(precision=None, ratio=0.9)
    """
    name, _, number = text.partition("=")
    try:
        match name:
            case "dense" if not number:
                return Dense()
            case "pruned":
                return Pruned(ratio=float(number))
            case "low-rank":
                return LowRank(rank=int(number))
            case "int8" if not number:
                return Quantised()
    except ValueError:
        pass  # the error below covers a number that cannot be parsed
    raise ConfigError(
        f"--dictionary is '{text}': give dense, int8, pruned=SHARE such as pruned=0.9, or "
        "low-rank=RANK such as low-rank=16."
    )


def bundled(model: ExportedModel) -> dict[str, Tensor]:
    """Collect all tensors of a classifier by their names, each shared tensor once."""
    encoder = own_state(model.classifier.encoder)
    heads = model.classifier.heads.state_dict()
    own = {f"{ENCODER}{key}": tensor for key, tensor in encoder.items()}
    return own | {f"{HEADS}{key}": tensor for key, tensor in heads.items()}


def write_bundle(model: ExportedModel, folder: Path) -> None:
    """Write all tensors of a model into one file, and a config by which timm finds the encoder."""
    save_tensors(folder / BUNDLE_FILE, bundled(model), {"format": f"see {MANIFEST}"})
    config = timm_config(model, as_wemoe=True)
    config["pretrained_cfg"]["hf_hub_filename"] = BUNDLE_FILE
    write_timm_config(config, folder)


def read_bundle(folder: Path, manifest: Manifest) -> MultiTaskClassifier:
    """Read the classifier of a bundle, in the precision in which it is stored.

    Raises:
        CheckpointError: the file and the manifest do not go together.
    """
    path = folder / BUNDLE_FILE
    stored = open_file(path).as_stored
    try:
        architecture = manifest.architecture
        if architecture.experts not in (0, len(manifest.experts)):
            raise ValueError(f"it names {len(manifest.experts)} experts")
        backbone = architecture.plain_backbone
        encoder = architecture.load(part_of(stored, ENCODER), str(path))
        check_precision(encoder, manifest)
        heads = {task: head_of(stored, task, about) for task, about in manifest.heads.items()}
    except (TypeError, KeyError, ValueError, ConfigError, MergeError) as error:
        why = str(error).rstrip(".")
        raise CheckpointError(f"{path} is not what {MANIFEST} beside it says: {why}.") from error
    classifier = MultiTaskClassifier(encoder, heads, backbone=backbone, experts=manifest.experts)
    classifier.measured = manifest.measured
    return classifier.eval()


def bundle_features(folder: Path, images: Tensor) -> Tensor:
    """Compute the features of images (B, 3, H, W) by the classifier in a bundle."""
    with torch.no_grad():
        return read_bundle(folder, read_manifest(folder / MANIFEST)).encode(images)


def head_of(stored: LazyState, task: str, about: HeadRecord) -> ClassificationHead:
    """Make the head of a task from its tensors and its record in the manifest."""
    names = ("weight",) if about["logit_scale"] is not None else ("weight", "bias")
    tensors = {name: stored[f"{HEADS}{task}.{name}"] for name in names}
    for tensor in tensors.values():
        if tensor.dtype not in OF_HEADS:
            raise ValueError(f"the head of '{task}' is of {tensor.dtype}")
    if about["logit_scale"] is not None:
        return CosineHead(tensors["weight"], about["classes"], about["logit_scale"])
    normalize = about.get("normalize", False)
    return LinearHead(tensors["weight"], about["classes"], tensors["bias"], normalize)


def check_precision(encoder: nn.Module, manifest: Manifest) -> None:
    """Raise `ValueError` unless an encoder has the precision that a manifest states.

    Dictionaries may have another precision: see `Compression`.
    """
    for name, tensor in own_state(encoder).items():
        is_weight = tensor.is_floating_point() and TASK_VECTORS not in name
        if is_weight and tensor.dtype != getattr(torch, manifest.precision):
            raise ValueError(f"'{name}' is of {tensor.dtype}, and not of {manifest.precision}")

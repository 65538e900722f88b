"""Read encoders from files of weights, strictly: every key accounted for, in both directions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wemoe_pl.errors import CheckpointError, ConfigError, did_you_mean
from wemoe_pl.files import atomic_write, locate

ENCODER_FILE = "encoder.safetensors"
PICKLE_STARTS = (b"PK\x03\x04", b"\x80")  # torch.save's zip archive, and a bare pickle


@dataclass(frozen=True)
class Backbone:
    """The architecture that a pretrained encoder and its experts share.

    Args:
        model: the name of a timm vision transformer.
        options: keyword arguments for `timm.create_model`. `num_classes` is 0 unless given:
            the encoder ends in features, and classification heads are separate.
    """

    model: str
    options: dict[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """A new encoder with random weights, in evaluation mode.

        Raises:
            ConfigError: timm does not know the model, or the model an option.
        """
        if not timm.is_model(self.model):
            nearest = get_close_matches(self.model, timm.list_models(), n=3)
            guess = f"Did you mean {' or '.join(nearest)}? " if nearest else ""
            raise ConfigError(
                f"timm has no model '{self.model}'. {guess}timm.list_models() gives all names."
            )
        try:
            encoder = timm.create_model(self.model, **{"num_classes": 0, **self.options})
        except Exception as error:  # whatever the layer raises that the option reaches
            raise ConfigError(
                f"The backbone '{self.model}' cannot be built with options {self.options}: {error}."
            ) from error
        return encoder.eval()

    @property
    def feature_dim(self) -> int:
        """D, the width of the features that the encoder ends in."""
        with torch.device("meta"):
            encoder = self.build()
        size = encoder.num_classes or encoder.num_features
        assert isinstance(size, int)
        return size


def load_encoder(source: str, backbone: Backbone | str) -> nn.Module:
    """Read an encoder in float32, in evaluation mode.

    Args:
        source: a safetensors file, a folder that holds `encoder.safetensors` (as
            `wemoe-pl fit` leaves it), or `shipped:…` for the miniature's own weights.
        backbone: the architecture, or the name of a timm model.

    Raises:
        CheckpointError: the file is missing, truncated, empty or a pickle, has NaN or infinite
            weights, or belongs to another architecture; names the file and the first such key.
    """
    backbone = Backbone(backbone) if isinstance(backbone, str) else backbone
    path = weights_path(source, ENCODER_FILE)
    tensors = read_tensors(path)[0]
    encoder = backbone.build()
    if difference := first_difference(tensors, encoder.state_dict()):
        raise CheckpointError(
            f"{path} does not fit the backbone '{backbone.model}': {difference}. "
            "Use weights that were fine-tuned from the same pretrained model."
        )
    encoder.load_state_dict(tensors)
    return encoder


def weights_path(source: str, name_in_folder: str) -> Path:
    """The file that `source` means, which may be the folder around it."""
    path = locate(source)
    path = path / name_in_folder if path.is_dir() else path
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*.safetensors")]
        hint = did_you_mean(path.name, siblings) if siblings else "Check the path in the config."
        raise CheckpointError(f"There is no file {path}. {hint}")
    return path


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, floating-point ones as float32, and its metadata.

    Raises:
        CheckpointError: see `load_encoder`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no dict)
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path} {what_is_wrong(path, error)}") from error
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{path} has NaN or infinite weights in '{key}': the training that made it "
                "diverged; use an earlier checkpoint."
            )
    floats = {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
    return floats, metadata


def what_is_wrong(path: Path, error: SafetensorError) -> str:
    """The end of a sentence about a file that is not in the safetensors format."""
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        return "is empty: copy or download it again."
    if start.startswith(PICKLE_STARTS):
        return (
            "is a pickle, which can run code when it is loaded: read it where you trust it with "
            "torch.load(..., weights_only=True) and save it with safetensors.torch.save_file."
        )
    return f"is damaged or no safetensors file ({error}): copy or download it again."


def save_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a safetensors file, whole or not at all; `dtype` casts floating-point tensors.

    Raises:
        CheckpointError: a weight is not finite in that precision; names its key.
        WeMoEError: the disk is full or the folder cannot be written to.
    """
    stored = {
        key: tensor.detach().to(dtype=dtype if tensor.is_floating_point() else None).contiguous()
        for key, tensor in tensors.items()
    }
    for key, tensor in stored.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"'{key}' cannot be saved in {path}: it is NaN, infinite or too large for "
                f"{tensor.dtype}. Save it in float32, or train with a lower learning rate."
            )
    with atomic_write(path) as temporary:
        try:
            save_file(stored, temporary, dict(metadata))
        except SafetensorError as error:  # its way to say that the disk is full
            raise OSError(str(error)) from error
        temporary.chmod(0o644)  # safetensors makes files that nobody else can read


def first_difference(state: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> str | None:
    """The first key, in the reference's order, in which two state dicts differ; None if in none.

    >>> first_difference({"w": torch.zeros(2)}, {"w": torch.zeros(3)})
    "'w' has shape (2,) instead of (3,)"
    """
    for key, tensor in reference.items():
        if key not in state:
            return f"'{key}' is missing"
        if state[key].shape != tensor.shape:
            return f"'{key}' has shape {tuple(state[key].shape)} instead of {tuple(tensor.shape)}"
    unknown = next((key for key in state if key not in reference), None)
    return f"'{unknown}' is not a part of it" if unknown is not None else None

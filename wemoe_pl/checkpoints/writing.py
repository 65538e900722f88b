"""Write tensors as safetensors, whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from wemoe_pl.checkpoints.state import State
from wemoe_pl.errors import CheckpointError
from wemoe_pl.system.files import atomic_write


def save_tensors(
    path: Path, tensors: State, metadata: Mapping[str, str], dtype: torch.dtype | None = None
) -> None:
    """Write a safetensors file; floating-point tensors are cast to `dtype` if it is given.

    Raises:
        CheckpointError: a weight is not finite in that precision; the message names its key.
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
        except SafetensorError as error:  # safetensors reports a full disk in this way
            raise OSError(str(error)) from error
        temporary.chmod(0o644)  # safetensors makes files that nobody else can read

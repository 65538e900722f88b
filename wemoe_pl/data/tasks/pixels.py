"""Convert images in memory, in the usual forms of other programs, to what models see."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wemoe_pl.data.tasks.columns import as_picture
from wemoe_pl.data.tasks.decoding import as_models_see, read_image
from wemoe_pl.errors import DataError

CHANNELS = (1, 3, 4)  # grey values, RGB, and RGB with opacity


def as_image(item: Any, name: str) -> Image.Image:
    """Return an image of any form upright, in RGB, with eight bits.

    Args:
        item: an image of Pillow's, of any mode; the path of a file; an array (H, W) or (H, W, C);
            or a tensor (H, W) or (C, H, W), as torchvision has them. C is 1, 3 or 4. Arrays and
            tensors hold bytes (uint8), or floats from 0 to 1, which become bytes.
        name: the name of the image in errors.

    Raises:
        DataError: the item is none of these, cannot be read, or has values of another range.
    """
    if isinstance(item, str | Path):
        return read_image(Path(item).expanduser())
    if isinstance(item, Image.Image):
        return as_models_see(item, name)
    if isinstance(item, Tensor):
        item = with_channels_last(item, name)
    if isinstance(item, np.ndarray):
        return as_models_see(as_picture(in_bytes(item, name), name), name)
    raise DataError(
        f"{name} is of type {type(item).__name__}: give an image of Pillow's, the path of a file, "
        "an array (H, W, C) or a tensor (C, H, W)."
    )


def with_channels_last(values: Tensor, name: str) -> NDArray[Any]:
    """Return a tensor (H, W) or (C, H, W) as an array (H, W) or (H, W, C)."""
    if values.ndim != 2 and (values.ndim != 3 or len(values) not in CHANNELS):
        raise DataError(
            f"{name} is a tensor of shape {tuple(values.shape)}: give (C, H, W), where C is 1, 3 "
            "or 4, or (H, W)."
        )
    values = values.detach().cpu()
    values = values.float() if values.is_floating_point() else values  # numpy has no bfloat16
    return values.numpy() if values.ndim == 2 else values.movedim(0, -1).numpy()


def in_bytes(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return floats from 0 to 1 as bytes, and integers as they are.

    Raises:
        DataError: the floats are not from 0 to 1.
    """
    if not np.issubdtype(values.dtype, np.floating):
        return np.ascontiguousarray(values)
    least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not (least >= 0 and most <= 1):
        raise DataError(
            f"{name} has values from {least:.3g} to {most:.3g}: give numbers from 0 to 1, or bytes "
            "(uint8). The backbone's own preprocessing normalises them, so leave `Normalize` out "
            "of the transforms of a data set."
        )
    return np.ascontiguousarray((values * 255).round().astype(np.uint8))

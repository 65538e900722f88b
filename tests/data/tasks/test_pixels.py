"""Images of every form that a program may have become what models see, or are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.plain_images import random_image
from PIL import Image

from wemoe_pl.data.tasks.pixels import as_image
from wemoe_pl.errors import DataError

BYTES = np.asarray(random_image(7, 5))  # (H, W, C) = (5, 7, 3)
GREY = np.ascontiguousarray(BYTES[:, :, 0])


def seen(item: Any) -> Any:
    image = as_image(item, "Image 3")
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    "item",
    [
        Image.fromarray(BYTES),
        BYTES,
        BYTES.astype(np.float64) / 255,
        BYTES[::-1][::-1],  # not contiguous
        torch.from_numpy(BYTES.copy()).movedim(-1, 0),
        torch.from_numpy(BYTES / 255).movedim(-1, 0),
        (torch.from_numpy(BYTES / 255).movedim(-1, 0)).float().requires_grad_(),
    ],
    ids=["pillow", "bytes", "floats", "strided", "tensor", "tensor of floats", "with gradients"],
)
def test_one_image_in_many_forms_has_the_same_pixels(item: Any) -> None:
    np.testing.assert_array_equal(seen(item), BYTES)


@pytest.mark.parametrize(
    "item",
    [
        Image.fromarray(GREY),
        GREY,
        GREY[:, :, None],
        GREY.astype(np.uint16) * 257,
        torch.from_numpy(GREY.copy()),
        torch.from_numpy(GREY.copy())[None],
        torch.from_numpy(GREY / 255).float()[None],
    ],
)
def test_grey_values_come_in_three_channels(item: Any) -> None:
    np.testing.assert_array_equal(seen(item), np.repeat(GREY[:, :, None], 3, axis=2))


def test_numbers_of_little_precision_are_rounded_to_the_nearest_byte() -> None:
    values = torch.linspace(0, 1, 12).reshape(1, 3, 4)
    expected = (values.bfloat16().double().numpy()[0] * 255).round()
    np.testing.assert_array_equal(seen(values.bfloat16())[:, :, 1], expected)


def test_what_is_transparent_is_white() -> None:
    clear = np.zeros((5, 7, 4), np.uint8)
    assert (seen(clear) == 255).all()
    assert (seen(torch.from_numpy(clear).movedim(-1, 0)) == 255).all()


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(BYTES).save(path)
    np.testing.assert_array_equal(seen(path), BYTES)
    np.testing.assert_array_equal(seen(str(path)), BYTES)


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (BYTES / 128, r"Image 3 has values from 0\S* to 1\.\d+: give numbers from 0 to 1"),
        (torch.randn(3, 8, 8), r"Image 3 has values from -.*leave `Normalize` out"),
        (np.full((4, 4), np.nan), "Image 3 has values from nan to nan"),
        (BYTES.transpose(2, 0, 1), r"uint8 pixels of shape \(3, 5, 7\): expected \(H, W\)"),
        (BYTES.astype(np.int64), "int64 pixels"),
        (torch.zeros(5, 7, 3), r"tensor of shape \(5, 7, 3\): give \(C, H, W\), where C is 1, 3"),
        (torch.zeros(2, 3, 7, 7), r"tensor of shape \(2, 3, 7, 7\)"),
        (BYTES[:0], "Image 3 is not a readable image"),
        ({"bytes": b""}, "Image 3 is of type dict: give an image of Pillow's"),
        (None, "Image 3 is of type NoneType"),
        ("nowhere.png", "nowhere.png"),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(item: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        as_image(item, "Image 3")

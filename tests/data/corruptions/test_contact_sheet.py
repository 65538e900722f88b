"""The picture of all corruptions of an image."""

from pathlib import Path

import numpy as np
from helpers.plain_images import constant, random_image
from numpy.random import default_rng
from PIL import Image

from wemoe_pl.data.corruptions.contact_sheet import corruption_sheet
from wemoe_pl.data.corruptions.severities import corrupt


def test_the_contact_sheet_has_a_row_per_kind_and_a_column_per_severity() -> None:
    image = random_image(30, 20)
    sheet = corruption_sheet(image, scale=2, seed=3)
    tiles = sheet.crop((sheet.width - 6 * 60, sheet.height - 7 * 40, sheet.width, sheet.height))
    seen = np.asarray(tiles)[::2, ::2].reshape(7, 20, 6, 30, 3).swapaxes(1, 2)
    assert (seen[:, 0] == np.asarray(image)).all()
    jpeg = corrupt(image, "jpeg_compression", 5, default_rng(0))
    np.testing.assert_array_equal(seen[6, 5], jpeg)
    assert len({tile.tobytes() for tile in seen.reshape(42, -1)}) == 7 * 5 + 1


def test_the_sheet_in_the_documents_is_a_picture_of_that_form() -> None:
    path = Path(__file__).parents[3] / "docs" / "corruptions.png"
    with Image.open(path) as sheet:
        assert sheet.size == corruption_sheet(constant(size=(64, 64))).size
    assert path.stat().st_size < 600_000

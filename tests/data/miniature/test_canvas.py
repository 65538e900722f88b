"""From a canvas to a picture: size, tint, noise, and values that stay bytes."""

import numpy as np
import pytest
from PIL import Image

from wemoe_pl.data.miniature.canvas import CANVAS, SIZE, cloud, develop, expose, stretch

COLOUR = (200, 100, 50)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def canvas() -> Image.Image:
    return Image.new("RGB", (CANVAS, CANVAS), COLOUR)


def test_developing_shrinks_and_keeps_the_colour(
    canvas: Image.Image, rng: np.random.Generator
) -> None:
    picture = develop(canvas, rng, noise=0)
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.dtype == np.uint8
    assert (picture == COLOUR).all()


def test_tint_is_a_factor_for_all_channels_or_for_each(
    canvas: Image.Image, rng: np.random.Generator
) -> None:
    assert (develop(canvas, rng, noise=0, tint=0.5) == (100, 50, 25)).all()
    assert (develop(canvas, rng, noise=0, tint=(1, 0.5, 0)) == (200, 50, 0)).all()


def test_noise_is_the_standard_deviation_of_a_pixel(rng: np.random.Generator) -> None:
    picture = expose(np.full((100, 100), 128.0), rng, noise=6)
    assert picture.std() == pytest.approx(6, rel=0.05)


def test_light_out_of_range_is_clipped(rng: np.random.Generator) -> None:
    assert expose(np.array([-40.0, 12.4, 300.0]), rng, noise=0).tolist() == [0, 12, 255]


def test_a_cloud_of_one_colour_is_plain_and_one_of_two_is_not(rng: np.random.Generator) -> None:
    assert (np.asarray(cloud(rng, COLOUR, COLOUR, cells=4)) == COLOUR).all()
    assert np.asarray(cloud(rng, (0, 0, 0), COLOUR, cells=4)).std((0, 1)).min() > 5


def test_stretching_leads_from_the_first_colour_to_the_last() -> None:
    rows = np.asarray(stretch(np.array([[(0, 0, 0)], [COLOUR]]))).astype(int)[:, 0]
    assert rows.shape == (CANVAS, 3)
    assert (np.diff(rows, axis=0) >= 0).all()
    np.testing.assert_allclose(rows[CANVAS // 2], np.array(COLOUR) / 2, atol=2)
    assert (rows[-1] >= COLOUR).all()  # bicubic curves overshoot a little

"""Corruptions are what they are defined to be."""

import io
import math
from collections.abc import Iterator

import numpy as np
import pytest
from helpers.plain_images import array, constant, random_image
from helpers.published_water import Array, published_gleam, smoothed
from numpy.random import default_rng
from PIL import Image

from wemoe_pl.data.corruptions.kinds import (
    gaussian_noise,
    impulse_noise,
    jpeg_compression,
    motion_blur,
    pixelate,
    spatter,
)
from wemoe_pl.data.corruptions.severities import SEVERITIES, corrupt

EVERY_SEVERITY = pytest.mark.parametrize("severity", SEVERITIES)
BOX = Image.Resampling.BOX

# The parameter set of CIFAR-10-C, at severities 1 to 5.
DEVIATIONS = (0.04, 0.06, 0.08, 0.09, 0.10)
AMOUNTS = (0.01, 0.02, 0.03, 0.05, 0.07)
LINES = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))
SPLASHES = ((0.62, 0.1, 0.7, 0.70, 0.5), (0.65, 0.1, 0.8, 0.70, 0.5), (0.65, 0.3, 1.0, 0.69, 0.5),
            (0.65, 0.1, 0.7, 0.69, 0.6), (0.65, 0.1, 0.5, 0.68, 0.6))  # fmt: skip
FACTORS = (0.75, 0.50, 0.40, 0.30, 0.15)
QUALITIES = (80, 65, 58, 50, 40)
SCALES = (0.95, 0.90, 0.85, 0.75, 0.65)


def assert_close(image: Image.Image, expected: Array) -> None:
    """As near as bytes can be; exact halves may be rounded either way."""
    np.testing.assert_allclose(array(image), expected.clip(0, 1), rtol=0, atol=0.5001 / 255)


# --- noise -----------------------------------------------------------------------------------


@EVERY_SEVERITY
def test_gaussian_noise_has_the_deviation_of_its_severity(severity: int) -> None:
    noise = array(corrupt(constant(), "gaussian_noise", severity, default_rng(0))) - 128 / 255
    deviation = DEVIATIONS[severity - 1]
    assert noise.std() == pytest.approx(deviation, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=4 * deviation / math.sqrt(noise.size))
    within = (abs(noise) < deviation).mean()
    assert within == pytest.approx(0.6827, abs=0.02)  # of a normal distribution


def test_gaussian_noise_differs_between_channels_and_is_clipped() -> None:
    channels = array(gaussian_noise(constant(), default_rng(0), 0.1)).reshape(-1, 3)
    assert abs(np.corrcoef(channels.T) - np.eye(3)).max() < 0.03
    black = np.asarray(gaussian_noise(constant(0), default_rng(0), 0.1))
    assert (black == 0).mean() == pytest.approx(0.5, abs=0.02)


@EVERY_SEVERITY
def test_impulse_noise_hits_the_share_of_its_severity(severity: int) -> None:
    values = np.asarray(corrupt(constant(), "impulse_noise", severity, default_rng(0)))
    assert set(np.unique(values)) == {0, 128, 255}
    amount = AMOUNTS[severity - 1]
    four_errors = 4 * math.sqrt(amount * (1 - amount) / values.size)
    assert (values != 128).mean() == pytest.approx(amount, abs=four_errors)
    hit = values[values != 128]
    assert (hit == 255).mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(hit.size))


def test_impulse_noise_hits_channels_one_by_one() -> None:
    hit = np.asarray(impulse_noise(constant(), default_rng(0), 0.1)) != 128
    assert hit.all(axis=2).mean() == pytest.approx(0.1**3, abs=0.002)


# --- blur ------------------------------------------------------------------------------------


def line(radius: int, deviation: float, angle: float) -> Iterator[tuple[int, int, float]]:
    """How far right and down each pixel of ImageMagick's line lies, and its weight."""
    weights = [math.exp(-(i**2) / (2 * deviation**2)) for i in range(2 * radius + 1)]
    for i, weight in enumerate(weights):
        right = math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        down = math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        yield right, down, weight / sum(weights)


@EVERY_SEVERITY
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_motion_blur_is_a_mean_along_a_line(severity: int, seed: int) -> None:
    image = random_image(21, 17)
    pixels = array(image)
    angle = default_rng(seed).uniform(-45, 45)
    expected = np.zeros_like(pixels)
    for y in range(17):
        for x in range(21):
            for right, down, weight in line(*LINES[severity - 1], angle):
                row, column = min(max(y + down, 0), 16), min(max(x + right, 0), 20)
                expected[y, x] += weight * pixels[row, column]
    assert_close(corrupt(image, "motion_blur", severity, default_rng(seed)), expected)


def test_a_point_is_smeared_to_one_side_and_keeps_its_mass() -> None:
    image = constant(0, (41, 41))
    image.putpixel((20, 20), (255, 255, 255))
    up, down = 0, 0
    for seed in range(20):
        smeared = array(motion_blur(image, default_rng(seed), 6, 2.0))[..., 0]
        assert smeared.sum() == pytest.approx(1, abs=13 * 0.5 / 255)  # 13 roundings
        ys, xs = smeared.nonzero()
        assert xs.max() == 20
        assert smeared[20, 20] == smeared.max()
        assert abs(ys - 20).max() <= 20 - xs.min()  # not steeper than 45 degrees
        up, down = up + bool(ys.min() < 20), down + bool(ys.max() > 20)
    assert min(up, down) >= 5


# --- spatter ---------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_water_brightens_the_lit_side_of_drops(severity: int) -> None:
    image = random_image(24, 20)
    location, scale, blur, threshold, mix = SPLASHES[severity - 1]
    noise = smoothed(default_rng(5).normal(location, scale, (20, 24)), blur)
    gleam = published_gleam(np.where(noise > threshold, noise, 0))
    assert 0.01 < (gleam > 0).mean() < 0.8
    turquoise = np.array([175, 238, 238]) / 255
    expected = array(image) + mix * gleam[..., None] * turquoise
    assert_close(corrupt(image, "spatter", severity, default_rng(5)), expected)


@pytest.mark.parametrize("severity", [4, 5])
def test_mud_covers_where_it_is_thick(severity: int) -> None:
    image = random_image(24, 20)
    location, scale, blur, threshold, rim = SPLASHES[severity - 1]
    noise = smoothed(default_rng(5).normal(location, scale, (20, 24)), blur)
    cover = smoothed((noise > threshold).astype(float), rim)
    cover[cover < 0.8] = 0
    assert 0.005 < (cover > 0).mean() < 0.5
    brown = np.array([63, 42, 20]) / 255
    expected = array(image) * (1 - cover[..., None]) + brown * cover[..., None]
    assert_close(corrupt(image, "spatter", severity, default_rng(5)), expected)


def test_water_that_is_nowhere_thick_enough_leaves_the_image_as_it_is() -> None:
    image = random_image(12, 9)
    assert spatter(image, default_rng(0), 0.6, 0.1, 0.7, 2.0, 0.5, False) == image


# --- what cameras and files do ---------------------------------------------------------------


@EVERY_SEVERITY
def test_contrast_keeps_every_channels_mean(severity: int) -> None:
    dark = Image.fromarray(np.asarray(random_image(30, 20)) // np.array([1, 2, 3], np.uint8))
    pixels = array(dark)
    mean = pixels.reshape(-1, 3).mean(0)
    expected = mean + FACTORS[severity - 1] * (pixels - mean)
    assert_close(corrupt(dark, "contrast", severity, default_rng(0)), expected)
    assert corrupt(constant(77), "contrast", severity, default_rng(0)) == constant(77)


@EVERY_SEVERITY
def test_jpeg_is_pillows_own_of_that_quality(severity: int) -> None:
    image = random_image(33, 21)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=QUALITIES[severity - 1])
    ours = corrupt(image, "jpeg_compression", severity, default_rng(0))
    assert ours.tobytes() == Image.open(file).convert("RGB").tobytes()
    assert jpeg_compression(image, default_rng(0), QUALITIES[severity - 1]) == ours


def test_a_checkerboard_pixelates_to_grey() -> None:
    board = np.indices((20, 32)).sum(0) % 2 * 255
    image = Image.fromarray(board.astype(np.uint8)).convert("RGB")
    grey = np.asarray(pixelate(image, default_rng(0), 0.5))
    assert set(np.unique(grey)) <= {127, 128}


def test_pixelate_repeats_the_mean_of_blocks() -> None:
    image = random_image(32, 20)
    blocks = array(image).reshape(5, 4, 8, 4, 3).mean((1, 3))
    expected = blocks.repeat(4, 0).repeat(4, 1)
    result = array(pixelate(image, default_rng(0), 0.25))
    np.testing.assert_allclose(result, expected, atol=1.01 / 255)  # two passes, two roundings


@EVERY_SEVERITY
def test_pixelate_leaves_as_many_pixels_as_its_scale_says(severity: int) -> None:
    result = np.asarray(corrupt(random_image(80, 60), "pixelate", severity, default_rng(0)))
    scale = SCALES[severity - 1]
    rows = 1 + (result[1:] != result[:-1]).any((1, 2)).sum()
    columns = 1 + (result[:, 1:] != result[:, :-1]).any((0, 2)).sum()
    assert (columns, rows) == (int(80 * scale), int(60 * scale))


@pytest.mark.parametrize("size", [(80, 60), (20, 30), (32, 32)])
def test_the_published_form_has_32_pixels_whatever_the_size(size: tuple[int, int]) -> None:
    image = random_image(*size)
    form = corrupt(image, "pixelate", 2, default_rng(0), published_pixelate=True)
    assert form == image.resize((28, 28), BOX).resize((32, 32), BOX)
    assert corrupt(image, "pixelate", 2, default_rng(0)).size == size

"""Corrupt an RGB image in each of the seven ways of the paper's robustness experiment.

The corruptions are defined by Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations" (arXiv 1903.12261; spatter is one of its extra corruptions).
"""

import io

import numpy as np
import scipy  # it imports its parts when they are first used
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from wemoe_pl.data.corruptions.gleam import gleam

UnitPixels = NDArray[np.float32]  # an image (H, W, 3) or a layer over it (H, W), from 0 to 1
WATER = np.array([175, 238, 238], np.float32) / 255  # pale turquoise
MUD = np.array([63, 42, 20], np.float32) / 255


def gaussian_noise(image: Image.Image, rng: Generator, deviation: float) -> Image.Image:
    """Add normal noise of a standard deviation to every value; values range from 0 to 1."""
    pixels = to_pixels(image)
    return to_image(pixels + deviation * rng.standard_normal(pixels.shape, np.float32))


def impulse_noise(image: Image.Image, rng: Generator, amount: float) -> Image.Image:
    """Replace a share `amount` of the values by 0 or by 1, each with a probability of one half."""
    pixels = to_pixels(image)
    hit = rng.random(pixels.shape) < amount
    return to_image(np.where(hit, rng.integers(0, 2, pixels.shape), pixels))


def motion_blur(image: Image.Image, rng: Generator, radius: int, deviation: float) -> Image.Image:
    """Blur an image along a line at a random angle of -45 to 45 degrees.

    As in ImageMagick, the line starts at the pixel and goes to one side for 2 · radius pixels,
    weighted by one half of a Gaussian.
    """
    pixels = to_pixels(image)
    height, width, _ = pixels.shape
    angle = np.deg2rad(rng.uniform(-45, 45))
    reach = 2 * radius
    steps = np.arange(reach + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    rows, columns = (
        reach + np.ceil(steps * side - 0.5).astype(int) for side in (np.sin(angle), np.cos(angle))
    )
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    blurred = np.zeros_like(pixels)
    for weight, row, column in zip(weights / weights.sum(), rows, columns, strict=True):
        blurred += np.float32(weight) * padded[row : row + height, column : column + width]
    return to_image(blurred)


def spatter(
    image: Image.Image, rng: Generator, location: float, scale: float, blur: float,
    threshold: float, mix: float, mud: bool,
) -> Image.Image:  # fmt: skip
    """Splash drops of water or mud onto the lens, where smoothed noise is above a threshold.

    Args:
        image: the image to corrupt.
        rng: the random generator of the noise.
        location: the mean of the noise.
        scale: the standard deviation of the noise.
        blur: the standard deviation of the Gaussian that smooths the noise, in pixels.
        threshold: the value above which smoothed noise is a drop.
        mix: the brightness of the water's gleam, or the smoothing of the mud's rim, in pixels.
        mud: True for mud, which covers the image; False for water, which gleams.
    """
    pixels = to_pixels(image)
    noise = rng.normal(location, scale, pixels.shape[:2]).astype(np.float32)
    liquid = scipy.ndimage.gaussian_filter(noise, blur, mode="nearest")
    drops = liquid > threshold
    if mud:
        cover = scipy.ndimage.gaussian_filter(drops.astype(np.float32), mix, mode="nearest")
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return to_image(pixels * (1 - cover) + MUD * cover)
    return to_image(pixels + mix * gleam(np.where(drops, liquid, 0))[..., None] * WATER)


def contrast(image: Image.Image, rng: Generator, factor: float) -> Image.Image:
    """Multiply the distances from each channel's mean by `factor`; `rng` is not used."""
    pixels = to_pixels(image)
    mean = pixels.mean(axis=(0, 1), dtype=np.float64)
    return to_image((pixels - mean) * factor + mean)


def jpeg_compression(image: Image.Image, rng: Generator, quality: int) -> Image.Image:
    """Encode an image as a JPEG of a given quality and decode it; `rng` is not used."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def pixelate(
    image: Image.Image, rng: Generator, scale: float, size: tuple[int, int] | None = None
) -> Image.Image:
    """Shrink an image to a share of a size, then enlarge it to that size; `rng` is not used.

    Args:
        image: the image to corrupt.
        rng: a random generator, which is not used.
        scale: the share of the width and of the height.
        size: the width and height; by default those of the image.
    """
    width, height = size or image.size
    shrunk = max(1, int(width * scale)), max(1, int(height * scale))
    return image.resize(shrunk, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)


def to_pixels(image: Image.Image) -> UnitPixels:
    """Return the pixels of an RGB image, (H, W, 3), from 0 to 1."""
    return np.asarray(image, np.float32) / np.float32(255)


def to_image(pixels: NDArray[np.floating]) -> Image.Image:
    """Return pixels (H, W, 3) as an RGB image, clipped to 0 to 1 and rounded to 256 levels."""
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))

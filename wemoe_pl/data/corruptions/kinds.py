"""The seven corruptions of the paper's robustness experiment, each a function of one RGB image.

They are defined by Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations" (arXiv 1903.12261; spatter is one of its extra corruptions).
"""

import io

import numpy as np
import scipy  # whose parts it imports when they are first used
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from wemoe_pl.data.corruptions.gleam import gleam

UnitPixels = NDArray[np.float32]  # of an image (H, W, 3) or a layer over it (H, W), from 0 to 1
WATER = np.array([175, 238, 238], np.float32) / 255  # pale turquoise
MUD = np.array([63, 42, 20], np.float32) / 255


def gaussian_noise(image: Image.Image, rng: Generator, deviation: float) -> Image.Image:
    """Add to every value normal noise of this standard deviation, of a range from 0 to 1."""
    pixels = to_pixels(image)
    return to_image(pixels + deviation * rng.standard_normal(pixels.shape, np.float32))


def impulse_noise(image: Image.Image, rng: Generator, amount: float) -> Image.Image:
    """Replace this share of the values by 0 or by 1, either with a chance of one half."""
    pixels = to_pixels(image)
    hit = rng.random(pixels.shape) < amount
    return to_image(np.where(hit, rng.integers(0, 2, pixels.shape), pixels))


def motion_blur(image: Image.Image, rng: Generator, radius: int, deviation: float) -> Image.Image:
    """Smear along a line at an angle of -45 to 45 degrees.

    As ImageMagick does: the line starts at the pixel and goes to one side for 2 · radius pixels,
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
    """Splash water or mud onto the lens, where smoothed noise is above a threshold.

    Args:
        image: to splash on.
        rng: draws the noise.
        location: mean of the noise.
        scale: its standard deviation.
        blur: standard deviation of the Gaussian that smooths it, in pixels.
        threshold: how high smoothed noise must be to be a drop.
        mix: how bright the water gleams, or how far the mud's rim is smoothed, in pixels.
        mud: mud covers, water gleams.
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
    """Shrink the distances to each channel's mean to this share; nothing is drawn."""
    pixels = to_pixels(image)
    mean = pixels.mean(axis=(0, 1), dtype=np.float64)
    return to_image((pixels - mean) * factor + mean)


def jpeg_compression(image: Image.Image, rng: Generator, quality: int) -> Image.Image:
    """Write and read as JPEG of this quality; nothing is drawn."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def pixelate(
    image: Image.Image, rng: Generator, scale: float, size: tuple[int, int] | None = None
) -> Image.Image:
    """Shrink to this share of a width and height, then enlarge to them; nothing is drawn.

    Args:
        image: to pixelate.
        rng: not used.
        scale: the share.
        size: width and height; by default the image's own.
    """
    width, height = size or image.size
    shrunk = max(1, int(width * scale)), max(1, int(height * scale))
    return image.resize(shrunk, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)


def to_pixels(image: Image.Image) -> UnitPixels:
    """RGB image → (H, W, 3), from 0 to 1."""
    return np.asarray(image, np.float32) / np.float32(255)


def to_image(pixels: NDArray[np.floating]) -> Image.Image:
    """(H, W, 3) → RGB image, clipped to 0 to 1 and rounded to the nearest of 256 levels."""
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))

"""Images that need no file: of one grey, or of random values, and their values from 0 to 1."""

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray
from PIL import Image


def constant(level: int = 128, size: tuple[int, int] = (150, 100)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


def random_image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(size)
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).convert("RGB")


def array(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image, np.float64) / 255

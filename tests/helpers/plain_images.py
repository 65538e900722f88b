"""Images that need no file: of one grey, or of random values."""

import numpy as np
from numpy.random import default_rng
from PIL import Image


def constant(level: int = 128, size: tuple[int, int] = (150, 100)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


def random_image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))

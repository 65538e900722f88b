"""Paint pictures on a canvas of four times their size, and expose them with noise."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from wemoe_pl.data.miniature.colours import Colour, Rng

SIZE = 28
OVERSAMPLING = 4
CANVAS = SIZE * OVERSAMPLING

Field = NDArray[np.float64]
Picture = NDArray[np.uint8]


def stretch(colours: NDArray[np.generic]) -> Image.Image:
    """Return a canvas that blends the colours of a small grid (rows, columns, 3) smoothly."""
    small = Image.fromarray(colours.astype(np.uint8))
    return small.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)


def cloud(rng: Rng, a: Colour, b: Colour, cells: int) -> Image.Image:
    """Return a canvas of smooth random blends of two colours, `cells` blobs across."""
    share = rng.random((cells, cells, 1))
    return stretch(np.asarray(a) * (1 - share) + np.asarray(b) * share)


def develop(canvas: Image.Image, rng: Rng, noise: float = 5, tint: ArrayLike = 1) -> Picture:
    """Return the canvas at its final size, in light of a tint, with a little noise."""
    return expose(np.asarray(canvas.reduce(OVERSAMPLING)) * np.asarray(tint, float), rng, noise)


def expose(light: Field, rng: Rng, noise: float) -> Picture:
    """Return light from 0 to 255 as a sensor records it: with noise, rounded and clipped."""
    grain = noise * rng.standard_normal(light.shape)
    return np.clip(np.rint(light + grain), 0, 255).astype(np.uint8)

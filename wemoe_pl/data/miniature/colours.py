"""Define named colours, and ways to choose, mix and vary colours."""

import colorsys

import numpy as np

Rng = np.random.Generator
Colour = tuple[int, int, int]

WHITE, BLACK, GREY = (240, 240, 240), (25, 25, 30), (120, 120, 125)
RED, BLUE, YELLOW = (205, 30, 40), (30, 80, 190), (245, 195, 40)
SAND, SEA, GRASS, LEAF = (225, 200, 145), (50, 120, 180), (105, 150, 75), (45, 100, 55)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return the colour of a hue, saturation and value; hues repeat after 1."""
    r, g, b = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * r), round(255 * g), round(255 * b)


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """Return a colour with a share of another in it."""
    r, g, b = (round(p + share * (q - p)) for p, q in zip(colour, other, strict=True))
    return r, g, b


def vary(rng: Rng, colour: Colour, spread: int = 22) -> Colour:
    """Return a random colour that differs by at most `spread` in each channel."""
    r, g, b = np.clip(colour + rng.integers(-spread, spread + 1, 3), 0, 255).tolist()
    return r, g, b

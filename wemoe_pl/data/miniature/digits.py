"""Render mnist and svhn: handwritten digits and house numbers, from one table of strokes."""

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import Colour, Rng, hsv, vary
from wemoe_pl.data.miniature.handwriting import handwritten, smooth, write
from wemoe_pl.data.miniature.pen import Pen, Points

NUMERALS = tuple("0123456789")

# The knots of the strokes of each digit; a tuple of knots is a stroke.
_KNOTS: tuple[tuple[Points, ...], ...] = (
    (((0, -1), (-0.45, -0.7), (-0.58, 0), (-0.45, 0.7), (0, 1), (0.45, 0.7), (0.58, 0),
      (0.45, -0.7), (0, -1)),),
    (((-0.35, -0.6), (0.05, -1)),
     ((0.05, -1), (0.05, 1))),
    (((-0.52, -0.55), (-0.3, -0.93), (0.2, -0.95), (0.5, -0.55), (0.25, 0), (-0.55, 0.95)),
     ((-0.55, 0.95), (0.6, 0.95))),
    (((-0.5, -0.75), (0, -1), (0.45, -0.7), (0.35, -0.22), (-0.1, -0.05)),
     ((-0.1, -0.05), (0.42, 0.12), (0.55, 0.55), (0.1, 1), (-0.55, 0.75))),
    (((0.25, -1), (-0.6, 0.35)),
     ((-0.6, 0.35), (0.65, 0.35)),
     ((0.25, -1), (0.25, 1))),
    (((0.5, -0.95), (-0.4, -0.95)),
     ((-0.4, -0.95), (-0.48, -0.12)),
     ((-0.48, -0.12), (0.05, -0.3), (0.5, 0.05), (0.5, 0.6), (0.05, 0.98), (-0.55, 0.75))),
    (((0.4, -0.98), (-0.2, -0.6), (-0.55, 0.15), (-0.42, 0.78), (0.02, 1), (0.48, 0.75),
      (0.48, 0.2), (0.05, -0.05), (-0.5, 0.3)),),
    (((-0.55, -0.95), (0.55, -0.95)),
     ((0.55, -0.95), (0.1, 0), (-0.15, 1))),
    (((0, -0.08), (-0.42, -0.4), (-0.32, -0.85), (0, -1), (0.32, -0.85), (0.42, -0.4),
      (0, -0.08), (-0.5, 0.35), (-0.4, 0.83), (0, 1), (0.4, 0.83), (0.5, 0.35), (0, -0.08)),),
    (((0.48, -0.6), (0.2, -0.98), (-0.3, -0.92), (-0.52, -0.5), (-0.28, -0.08), (0.2, -0.12),
      (0.48, -0.6)),
     ((0.48, -0.75), (0.45, 0.1), (0.2, 1))),
)  # fmt: skip


# The strokes of each digit, within ±0.65 across and ±1 down.
DIGITS = tuple(tuple(smooth(knots) for knots in strokes) for strokes in _KNOTS)


def render_mnist(name: str, rng: Rng) -> Picture:
    """Render a digit in white handwriting on black, without noise."""
    return handwritten(DIGITS[int(name)], rng, thin=0.17, thick=0.32, unrest=0.16)


def render_svhn(name: str, rng: Rng) -> Picture:
    """Render a digit of a house number in any colours; other digits may show at its sides."""
    wall, ink = _contrast(rng)
    canvas = cloud(rng, vary(rng, wall, 20), vary(rng, wall, 20), cells=3)
    pen = Pen(canvas)
    x, y = rng.uniform(-0.1, 0.1, 2)
    angle, scale, width = rng.uniform(-0.15, 0.15), rng.uniform(0.62, 0.75), rng.uniform(0.26, 0.36)
    for column, digit in ((-1, rng.integers(10)), (1, rng.integers(10)), (0, int(name))):
        if column == 0 or rng.random() < 0.5:
            pen.move(x + column * rng.uniform(0.98, 1.1), y + column * angle, scale, angle)
            write(pen, rng, DIGITS[int(digit)], ink, width, unrest=0.05)
    return develop(canvas, rng, noise=9)


def _contrast(rng: Rng) -> tuple[Colour, Colour]:
    """Return a dark and a light colour, in either order, so that no hue can hide the digit."""
    low, high = rng.uniform(0.3, 0.45), rng.uniform(0.88, 1.0)
    dark, light = hsv(rng.random(), 0.8, low), hsv(rng.random(), 0.35, high)
    return (dark, light) if rng.random() < 0.5 else (light, dark)

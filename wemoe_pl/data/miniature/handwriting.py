"""Draw handwriting: smooth strokes through knots, slanted and bent as by a hand."""

import math

import numpy as np
from PIL import Image

from wemoe_pl.data.miniature.canvas import CANVAS, Field, Picture, develop
from wemoe_pl.data.miniature.colours import Colour, Rng
from wemoe_pl.data.miniature.pen import Pen, Points

Glyph = tuple[Field, ...]  # the strokes of a character, within ±0.65 across and ±1 down


def smooth(knots: Points) -> Field:
    """Return a Catmull-Rom curve through the knots, five points from each to the next."""
    p = np.array((knots[0], *knots, knots[-1]))
    t = np.linspace(0, 1, 5)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    bend = 2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)
    curve: Field = b + 0.5 * t * (c - a + t * bend)
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def glyph(text: str) -> Glyph:
    """Return the strokes that a text describes by the column and the row of each knot.

    A comma separates strokes. Columns and rows go from 0 to 8, so that "40 48" is a line from the
    top to the bottom.
    """
    strokes = [[divmod(int(knot), 10) for knot in stroke.split()] for stroke in text.split(",")]
    return tuple(smooth([(0.15 * (c - 4), 0.25 * (r - 4)) for c, r in knots]) for knots in strokes)


def write(pen: Pen, rng: Rng, strokes: Glyph, ink: Colour, width: float, unrest: float) -> None:
    """Draw a glyph, slanted and bent by up to `unrest`."""
    slant, bend_x, bend_y = rng.uniform(-1, 1, 3) * (1.6 * unrest, unrest, unrest)
    phase = rng.uniform(0, 2 * math.pi)
    for x, y in (stroke.T for stroke in strokes):
        bent = (x - slant * y + bend_x * np.sin(2 * y + phase), y + bend_y * np.sin(2 * x + phase))
        pen.stroke(np.stack(bent, 1).tolist(), ink, width)


def handwritten(strokes: Glyph, rng: Rng, thin: float, thick: float, unrest: float) -> Picture:
    """Render a glyph in white handwriting on black, without noise."""
    canvas = Image.new("RGB", (CANVAS, CANVAS))
    pen = Pen(canvas)
    x, y = rng.uniform(-0.1, 0.1, 2)
    pen.move(x, y, rng.uniform(0.6, 0.72), rng.uniform(-0.12, 0.12))
    write(pen, rng, strokes, (255, 255, 255), rng.uniform(thin, thick), unrest)
    return develop(canvas, rng, noise=0)

"""Render flowers102: blossoms from above; the class is the shape, not the colour."""

import math
from typing import NamedTuple

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import BLACK, WHITE, YELLOW, Colour, Rng, hsv, mix, vary
from wemoe_pl.data.miniature.pen import Pen


class _Flower(NamedTuple):
    petals: int
    width: float  # half the width of a petal, relative to its length
    tip: float  # the width of its end, relative to its width: pointed, blunt or wider
    notch: float = 0  # the depth of the notch in its end, relative to its length
    rows: int = 1
    heart: float = 0.15  # the radius of the middle of the blossom


FLOWERS = {
    "balloon flower": _Flower(5, 0.42, 0.1, heart=0.08),
    "clematis": _Flower(8, 0.24, 0.3, heart=0.2),
    "common dandelion": _Flower(20, 0.06, 0.9, rows=3, heart=0),
    "corn poppy": _Flower(4, 0.55, 1.1, heart=0.22),
    "daffodil": _Flower(6, 0.26, 0.15, heart=0.4),
    "oxeye daisy": _Flower(12, 0.12, 0.9, heart=0.3),
    "primula": _Flower(5, 0.34, 1.5, notch=0.3),
    "rose": _Flower(5, 0.6, 0.9, rows=4, heart=0.05),
    "sunflower": _Flower(18, 0.12, 0.1, heart=0.55),
}


def render_flowers102(name: str, rng: Rng) -> Picture:
    """Render a blossom of any colour except green, before leaves, turned any way."""
    flower = FLOWERS[name]
    leaves = hsv(rng.uniform(0.22, 0.4), rng.uniform(0.4, 0.7), rng.uniform(0.25, 0.5))
    canvas = cloud(rng, leaves, mix(leaves, BLACK, 0.4), cells=6)
    hue, pen = rng.uniform(-0.3, 0.17), Pen(canvas)
    petal = hsv(hue, rng.uniform(0.2, 0.85), rng.uniform(0.8, 1))
    (x, y), scale, turn = rng.uniform(-0.15, 0.15, 2), rng.uniform(0.72, 0.92), rng.uniform(0, 7)
    for row in range(flower.rows):
        reach = scale * (1 - row / flower.rows)
        for k in range(flower.petals):
            angle = turn + 2 * math.pi * (k + 0.5 * row) / flower.petals + rng.uniform(-0.08, 0.08)
            pen.move(x, y, reach * rng.uniform(0.92, 1.05), angle)
            _draw_petal(pen, rng, flower, mix(petal, BLACK, 0.1 * row + 0.08 * (k % 2)))
    pen.move(x, y, scale)
    core = rng.choice((YELLOW, (90, 50, 30), WHITE))
    pen.disc(0, 0, flower.heart, mix(petal, vary(rng, tuple(core.tolist())), 0.75))
    return develop(canvas, rng, noise=5, tint=rng.uniform(0.8, 1.1))


def _draw_petal(pen: Pen, rng: Rng, flower: _Flower, colour: Colour) -> None:
    """Draw a petal from the frame's origin up."""
    wide, end = flower.width, flower.width * flower.tip
    left = ((-0.03, 0), (-wide, -0.55), (-end, -0.92), (-end / 2, -1))
    right = [(-u, v) for u, v in left[::-1]]
    pen.fill((*left, (0, flower.notch - 1), *right), vary(rng, colour, 10))

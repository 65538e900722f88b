"""Render eurosat: land cover seen from a satellite."""

import math
from typing import NamedTuple

import numpy as np

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import Colour, Rng, hsv, vary
from wemoe_pl.data.miniature.pen import Pen, Sketch


class _Land(NamedTuple):
    low: Colour
    high: Colour
    cells: int
    sketch: Sketch


def _bare(pen: Pen, rng: Rng) -> None:
    """Draw nothing: the ground alone is the picture."""


def _annual_crop(pen: Pen, rng: Rng) -> None:
    middle = rng.uniform(-0.3, 0.3)
    for x0, x1 in ((-2, middle), (middle, 2)):
        split = rng.uniform(-0.4, 0.4)
        for y0, y1 in ((-2, split), (split, 2)):
            pen.box(x0, y0, x1, y1, hsv(rng.uniform(0.06, 0.17), 0.45, rng.uniform(0.45, 0.85)))


def _highway_from_above(pen: Pen, rng: Rng) -> None:
    bend = rng.uniform(-0.25, 0.25)
    path = ((-2, bend), (-0.6, 0), (0.6, 0), (2, bend))
    pen.stroke(path, (205, 200, 195), 0.36)
    pen.stroke(path, (90, 90, 95), 0.1)


def _industrial(pen: Pen, rng: Rng) -> None:
    for x in (-1.05, 0, 1.05):
        for y in (-0.75, 0, 0.75):
            width, height = rng.uniform(0.3, 0.48), rng.uniform(0.2, 0.32)
            pen.box(x - width, y - height, x + width, y + height, vary(rng, (215, 215, 225), 30))


def _pasture(pen: Pen, rng: Rng) -> None:
    for y in (rng.uniform(-0.7, -0.3), rng.uniform(0.3, 0.7)):
        pen.stroke(((-2, y), (0, y + rng.uniform(-0.1, 0.1)), (2, y)), (55, 85, 50), 0.09)
    pen.stroke(((rng.uniform(-0.4, 0.4), -0.4), (rng.uniform(-0.4, 0.4), 0.4)), (55, 85, 50), 0.09)


def _permanent_crop(pen: Pen, rng: Rng) -> None:
    for x in np.arange(-1.5, 1.6, 0.34):
        for y in np.arange(-1.5, 1.6, 0.34):
            pen.disc(x, y, 0.11, (60, 95, 50))


def _residential(pen: Pen, rng: Rng) -> None:
    for street in (-0.9, 0, 0.9):
        pen.stroke(((-2, street), (2, street)), (165, 160, 160), 0.14)
        for x in np.arange(-1.4, 1.5, 0.36):
            for y in (street - 0.24, street + 0.24):
                pen.box(x - 0.11, y - 0.1, x + 0.11, y + 0.1, vary(rng, (185, 95, 75), 30))


def _river(pen: Pen, rng: Rng) -> None:
    x = np.linspace(-2, 2, 24)
    y = 0.35 * np.sin(rng.uniform(1.5, 2.5) * x + rng.uniform(0, 6))
    pen.stroke(np.stack((x, y), 1).tolist(), vary(rng, (60, 95, 135)), 0.38)


LANDS = {
    "annual crop": _Land((150, 120, 80), (190, 160, 105), 4, _annual_crop),
    "forest": _Land((15, 45, 25), (70, 110, 60), 14, _bare),
    "herbaceous vegetation": _Land((85, 100, 55), (190, 170, 120), 8, _bare),
    "highway": _Land((85, 110, 65), (150, 140, 95), 4, _highway_from_above),
    "industrial": _Land((110, 105, 105), (140, 135, 130), 6, _industrial),
    "pasture": _Land((105, 155, 75), (135, 180, 95), 4, _pasture),
    "permanent crop": _Land((160, 135, 95), (190, 165, 120), 5, _permanent_crop),
    "residential": _Land((90, 110, 75), (125, 135, 100), 6, _residential),
    "river": _Land((75, 105, 60), (140, 140, 90), 5, _river),
    "sea lake": _Land((20, 55, 95), (40, 85, 120), 3, _bare),
}


def render_eurosat(name: str, rng: Rng) -> Picture:
    """Render land from above, turned any way, in the tint of a season."""
    land = LANDS[name]
    canvas = cloud(rng, vary(rng, land.low), vary(rng, land.high), land.cells)
    pen = Pen(canvas)
    x, y = rng.uniform(-0.25, 0.25, 2)
    pen.move(x, y, rng.uniform(0.9, 1.15), rng.uniform(0, 2 * math.pi))
    land.sketch(pen, rng)
    season = rng.uniform(0.85, 1.1) * rng.uniform(0.95, 1.05, 3)
    return develop(canvas, rng, noise=4, tint=season)

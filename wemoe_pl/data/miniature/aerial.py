"""Render resisc45: places seen from above, at any angle."""

import math

import numpy as np

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import GRASS, GREY, LEAF, SAND, WHITE, Rng, hsv, mix, vary
from wemoe_pl.data.miniature.pen import Pen, Sketch, polygon


def _airplane(pen: Pen, rng: Rng) -> None:
    pen.ground(vary(rng, (150, 150, 150)))
    pen.stroke(((0, -0.65), (0, 0.6)), WHITE, 0.2)
    for side in (-1, 1):
        pen.fill(((0, -0.25), (0.85 * side, 0.2), (0.85 * side, 0.35), (0, 0.15)), WHITE)
        pen.fill(((0, 0.4), (0.35 * side, 0.62), (0.35 * side, 0.74), (0, 0.62)), WHITE)


def _bridge(pen: Pen, rng: Rng) -> None:
    pen.box(-3, -0.6, 3, 0.6, vary(rng, (50, 100, 140)))
    pen.box(-0.2, -3, 0.24, 3, (50, 55, 65))
    pen.box(-0.18, -3, 0.18, 3, (200, 195, 185))
    pen.stroke(((0, -3), (0, 3)), GREY, 0.06)


def _circular_farmland(pen: Pen, rng: Rng) -> None:
    for x, y in ((-0.6, -0.6), (0.6, -0.6), (-0.6, 0.6), (0.6, 0.6)):
        pen.disc(x, y, 0.54, vary(rng, (80, 145, 60), 35))
        pen.stroke(((x, y), (x + rng.uniform(-0.3, 0.3), y + 0.42)), (165, 190, 120), 0.06)


def _intersection(pen: Pen, rng: Rng) -> None:
    pen.box(-0.24, -3, 0.24, 3, (95, 95, 100))
    pen.box(-3, -0.24, 3, 0.24, (95, 95, 100))
    for along in (-1.3, -0.9, -0.5, 0.5, 0.9, 1.3):
        pen.box(along - 0.12, -0.04, along + 0.12, 0.04, WHITE)
        pen.box(-0.04, along - 0.12, 0.04, along + 0.12, WHITE)


def _island(pen: Pen, rng: Rng) -> None:
    pen.ground(vary(rng, (40, 110, 160), 30))
    reach = rng.uniform(0.55, 0.75, 9)
    for share, colour in ((1.2, (110, 190, 200)), (1.0, SAND), (0.72, vary(rng, LEAF))):
        coast = zip(polygon(9), reach * share, strict=True)
        pen.fill([(x * r, y * r) for (x, y), r in coast], colour)


def _parking_lot(pen: Pen, rng: Rng) -> None:
    pen.ground(vary(rng, (90, 90, 95), 10))
    for y in (-0.9, -0.3, 0.3, 0.9):
        for x in np.arange(-1.2, 1.3, 0.3):
            paint = hsv(rng.random(), rng.uniform(0, 0.6), 0.9)
            pen.box(x - 0.1, y - 0.18, x + 0.1, y + 0.18, paint)


def _railway(pen: Pen, rng: Rng) -> None:
    pen.box(-0.55, -3, 0.55, 3, (150, 135, 120))
    for y in np.arange(-1.4, 1.5, 0.28):
        pen.box(-0.45, y - 0.06, 0.45, y + 0.06, (80, 60, 50))
    for x in (-0.28, 0.28):
        pen.stroke(((x, -3), (x, 3)), (215, 215, 225), 0.09)


def _roundabout(pen: Pen, rng: Rng) -> None:
    road = (95, 95, 100)
    pen.box(-0.17, -3, 0.17, 3, road)
    pen.box(-3, -0.17, 3, 0.17, road)
    for radius, colour in ((0.62, road), (0.34, WHITE), (0.28, vary(rng, GRASS))):
        pen.disc(0, 0, radius, colour)


def _runway(pen: Pen, rng: Rng) -> None:
    pen.box(-0.42, -3, 0.42, 3, (75, 75, 80))
    pen.box(-0.36, -3, -0.32, 3, WHITE)
    pen.box(0.32, -3, 0.36, 3, WHITE)
    for y in np.arange(-1.5, 0.3, 0.45):
        pen.box(-0.04, y, 0.04, y + 0.25, WHITE)
    for x in (-0.24, -0.1, 0.04, 0.18):
        pen.box(x, 0.4, x + 0.07, 0.8, WHITE)


def _storage_tank(pen: Pen, rng: Rng) -> None:
    pen.ground(vary(rng, (165, 155, 140), 15))
    for x, y in ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)):
        pen.disc(x + 0.1, y + 0.1, 0.38, (90, 85, 85))
        pen.disc(x, y, 0.38, WHITE)
        pen.disc(x, y, 0.1, (185, 190, 195))


AERIALS: dict[str, Sketch] = {
    "airplane": _airplane, "bridge": _bridge, "circular farmland": _circular_farmland,
    "intersection": _intersection, "island": _island, "parking lot": _parking_lot,
    "railway": _railway, "roundabout": _roundabout, "runway": _runway,
    "storage tank": _storage_tank,
}  # fmt: skip


def render_resisc45(name: str, rng: Rng) -> Picture:
    """Render a place from above, turned any way, on dry or green ground."""
    ground = hsv(rng.uniform(0.1, 0.3), rng.uniform(0.2, 0.45), rng.uniform(0.4, 0.65))
    canvas = cloud(rng, ground, mix(ground, (70, 60, 40), 0.4), cells=7)
    pen = Pen(canvas)
    x, y = rng.uniform(-0.15, 0.15, 2)
    pen.move(x, y, rng.uniform(0.85, 1.1), rng.uniform(0, 2 * math.pi))
    AERIALS[name](pen, rng)
    return develop(canvas, rng, tint=rng.uniform(0.8, 1.1))

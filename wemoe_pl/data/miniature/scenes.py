"""Render sun397: scenes at any hour of the day, their horizon at y = 0."""

import math

import numpy as np

from wemoe_pl.data.miniature.canvas import Picture, develop, stretch
from wemoe_pl.data.miniature.colours import (
    GRASS,
    GREY,
    LEAF,
    RED,
    SAND,
    SEA,
    WHITE,
    YELLOW,
    Rng,
    vary,
)
from wemoe_pl.data.miniature.pen import Pen, Sketch, polygon

_HOURS = (  # sky above, sky at the horizon, tint of the light
    ((85, 150, 230), (190, 220, 245), (1.0, 1.0, 1.0)),
    ((120, 130, 215), (255, 205, 200), (0.95, 0.88, 0.95)),
    ((225, 110, 90), (255, 210, 120), (1.0, 0.85, 0.75)),
    ((50, 60, 130), (110, 120, 190), (0.6, 0.65, 0.85)),
)


def _beach(pen: Pen, rng: Rng) -> None:
    pen.box(-3, 0, 3, 0.4, SEA)
    pen.ground(SAND, top=0.35)
    pen.stroke(((-3, 0.36), (3, 0.36)), WHITE, 0.08)
    pen.stroke(((0.55, 0.8), (0.5, 0.2), (0.35, -0.4)), (120, 80, 50), 0.1)
    for x, y in ((-0.2, -0.3), (-0.05, -0.65), (0.4, -0.85), (0.75, -0.6), (0.85, -0.2)):
        pen.stroke(((0.35, -0.4), ((x + 0.35) / 2, y - 0.12), (x, y + 0.1)), LEAF, 0.1)


def _desert(pen: Pen, rng: Rng) -> None:
    pen.fill(((-3, 0.1), (-0.4, -0.15), (0.6, 0.1), (3, -0.1), (3, 3), (-3, 3)), (225, 170, 100))
    pen.fill(((-3, 0.6), (-0.8, 0.3), (0.2, 0.5), (3, 0.2), (3, 3), (-3, 3)), (200, 140, 80))
    pen.stroke(((0, 0.5), (0, -0.55)), LEAF, 0.2)
    pen.stroke(((0, 0.15), (-0.35, 0.1), (-0.35, -0.25)), LEAF, 0.13)
    pen.stroke(((0, 0), (0.35, -0.05), (0.35, -0.4)), LEAF, 0.13)


def _forest(pen: Pen, rng: Rng) -> None:
    pen.ground(GRASS, top=0.2)
    for x in np.linspace(-1.3, 1.3, 6) + rng.uniform(-0.1, 0.1, 6):
        top, green = rng.uniform(-0.85, -0.4), vary(rng, LEAF)
        pen.box(x - 0.05, 0.3, x + 0.05, 0.6, (90, 60, 40))
        pen.fill(((x - 0.32, 0.45), (x, top), (x + 0.32, 0.45)), green)


def _highway(pen: Pen, rng: Rng) -> None:
    pen.ground(vary(rng, GRASS, 30), top=0)
    pen.fill(((-0.08, 0), (0.08, 0), (1.3, 1.6), (-1.3, 1.6)), (85, 85, 92))
    for y in (0.1, 0.3, 0.62, 1.1):
        pen.fill(((-0.05 * y, y), (0.05 * y, y), (0.1 * y, 1.3 * y), (-0.1 * y, 1.3 * y)), YELLOW)


def _iceberg(pen: Pen, rng: Rng) -> None:
    pen.ground((40, 95, 140), top=0)
    top = rng.uniform(-0.2, 0.1)
    pen.fill(((-0.75, 0.2), (-0.5, -0.3), (top, -0.7), (0.4, -0.35), (0.75, 0.2)), (235, 245, 250))
    pen.fill(((top, -0.7), (0.4, -0.35), (0.75, 0.2), (0.15, 0.2)), (165, 205, 225))
    pen.fill(((-0.75, 0.22), (0.75, 0.22), (0.35, 0.7), (-0.3, 0.6)), (80, 150, 180))


def _lighthouse(pen: Pen, rng: Rng) -> None:
    pen.ground(SEA, top=0.15)
    pen.fill(((-0.6, 0.55), (-0.35, 0.3), (0.4, 0.3), (0.7, 0.55), (0.9, 0.9), (-0.9, 0.9)), GREY)
    pen.fill(((-0.22, 0.4), (-0.14, -0.5), (0.14, -0.5), (0.22, 0.4)), WHITE)
    for y in (-0.35, 0.05):
        pen.box(-0.18, y, 0.18, y + 0.18, RED)
    pen.box(-0.12, -0.68, 0.12, -0.5, YELLOW)
    pen.fill(((-0.2, -0.68), (0, -0.88), (0.2, -0.68)), RED)


def _mountain(pen: Pen, rng: Rng) -> None:
    for x, height in ((-0.75, 0.6), (0.75, 0.55), (0, rng.uniform(0.7, 0.9))):
        rock = vary(rng, (105, 105, 120))
        pen.fill(((x - height, 0.3), (x, -height), (x + height, 0.3)), rock)
        snow = ((0, -1), (0.3, -0.5), (0.12, -0.6), (0, -0.45), (-0.12, -0.6), (-0.3, -0.5))
        pen.fill([(x + height * u, height * v) for u, v in snow], WHITE)
    pen.ground(vary(rng, GRASS), top=0.25)


def _skyscraper(pen: Pen, rng: Rng) -> None:
    pen.ground((95, 95, 105), top=0.5)
    for x in np.arange(-1.6, 1.6, 0.42):
        top, wall = rng.uniform(-0.95, 0.0), vary(rng, (85, 95, 120), 25)
        pen.box(x, top, x + 0.36, 0.6, wall)
        for y in np.arange(top + 0.1, 0.5, 0.2):
            pen.box(x + 0.08, y, x + 0.28, y + 0.08, (250, 225, 140))


def _volcano(pen: Pen, rng: Rng) -> None:
    for x, y, radius in ((0.05, -0.65, 0.17), (0.2, -0.85, 0.22), (0.45, -1.05, 0.28)):
        pen.disc(x, y, radius, (150, 145, 150))
    pen.fill(((-1.1, 0.4), (-0.22, -0.5), (0.22, -0.5), (1.1, 0.4)), (85, 60, 60))
    pen.ground((60, 75, 55), top=0.4)
    pen.fill(((-0.22, -0.5), (0.22, -0.5), (0.3, -0.1), (0.1, -0.25), (0, 0.2)), (255, 105, 30))


def _windmill(pen: Pen, rng: Rng) -> None:
    pen.ground(GRASS, top=0.3)
    pen.fill(((-0.3, 0.6), (-0.16, -0.3), (0.16, -0.3), (0.3, 0.6)), (165, 110, 80))
    pen.disc(0, -0.3, 0.17, (110, 70, 55))
    for x, y in polygon(4, 0.65, rng.uniform(0, math.pi / 2)):
        pen.stroke(((0, -0.3), (x, y - 0.3)), WHITE, 0.12)


SCENES: dict[str, Sketch] = {
    "beach": _beach, "desert": _desert, "forest": _forest, "highway": _highway,
    "iceberg": _iceberg, "lighthouse": _lighthouse, "mountain": _mountain,
    "skyscraper": _skyscraper, "volcano": _volcano, "windmill": _windmill,
}  # fmt: skip


def render_sun397(name: str, rng: Rng) -> Picture:
    """Render a scene under a sun, shifted, scaled or mirrored, at a random hour."""
    above, below, tint = _HOURS[rng.integers(len(_HOURS))]
    canvas = stretch(np.array([[vary(rng, above)], [vary(rng, below)]]))
    pen = Pen(canvas)
    pen.disc(rng.uniform(-0.9, 0.9), rng.uniform(-0.9, -0.5), 0.15, (255, 245, 190))
    x, y = rng.uniform(-0.25, 0.25), rng.uniform(0.05, 0.3)
    pen.move(x, y, rng.uniform(0.85, 1.1), flip=rng.random() < 0.5)
    SCENES[name](pen, rng)
    return develop(canvas, rng, tint=tint)

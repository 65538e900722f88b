"""Render food101: dishes on a table."""

import math

import numpy as np

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import WHITE, Rng, hsv, vary
from wemoe_pl.data.miniature.parts import Parts, box, draw_parts, mirrored, oval
from wemoe_pl.data.miniature.pen import Pen

_TOPPINGS = [(0.42 * math.sin(a), 0.42 * math.cos(a)) for a in np.arange(6) * math.pi / 3]

DISHES: dict[str, Parts] = {
    "deviled eggs": tuple(
        (tone, oval(x, y, size, 1.3 * size))
        for x, y in ((-0.36, -0.28), (0.36, -0.28), (0, 0.38))
        for tone, size in (("metal", 0.31), ("white", 0.28), ("cheese", 0.15))),
    "donuts": (
        ("crust", oval(0, 0, 0.72)), ("own", oval(0, 0, 0.62)), ("crust", oval(0, 0, 0.27)),
        ("white", oval(0, 0, 0.2)),
        *(("light", box(x - 0.05, y - 0.05, x + 0.05, y + 0.05)) for x, y in _TOPPINGS)),
    "french fries": (
        *(("cheese", box(x, y, x + 0.13, 0.3))
          for x, y in ((-0.5, -0.6), (-0.32, -0.9), (-0.1, -0.7), (0.1, -0.95), (0.32, -0.65))),
        ("own", mirrored((-0.6, -0.15), (-0.42, 0.85)))),
    "hamburger": (
        ("bread", mirrored((-0.3, -0.7), (-0.65, -0.5), (-0.75, -0.15))),
        ("salad", box(-0.83, -0.18, 0.83, 0.05)), ("wood", box(-0.75, 0, 0.75, 0.25)),
        ("cheese", mirrored((-0.75, 0.18), (0, 0.4))),
        ("bread", mirrored((-0.75, 0.32), (-0.6, 0.65)))),
    "ice cream": (
        ("crust", ((-0.35, 0.1), (0.35, 0.1), (0, 0.95))), ("own", oval(-0.2, -0.05, 0.33)),
        ("light", oval(0.2, -0.05, 0.33)), ("dark", oval(0, -0.5, 0.33))),
    "pizza": (
        ("crust", oval(0, 0, 0.85)), ("tomato", oval(0, 0, 0.74)), ("cheese", oval(0, 0, 0.68)),
        *(("tomato", oval(x, y, 0.15)) for x, y in _TOPPINGS), ("salad", oval(0, 0, 0.1))),
    "sushi": tuple(
        (tone, oval(x, y, size)) for x in (-0.37, 0.37) for y in (-0.37, 0.37)
        for tone, size in (("black", 0.33), ("white", 0.26), ("own", 0.13))),
    "waffles": (
        ("bread", box(-0.65, -0.65, 0.65, 0.65)),
        *(("crust", box(x, y, x + 0.24, y + 0.24))
          for x in (-0.53, -0.12, 0.29) for y in (-0.53, -0.12, 0.29)),
        ("cheese", box(-0.15, -0.15, 0.15, 0.15))),
}  # fmt: skip


def render_food101(name: str, rng: Rng) -> Picture:
    """Render a dish on a plate on any table, under a warm light."""
    hue = rng.random()
    canvas = cloud(rng, hsv(hue, 0.4, 0.35), hsv(hue + 0.1, 0.4, 0.7), cells=5)
    pen = Pen(canvas)
    x, y = rng.uniform(-0.12, 0.12, 2)
    pen.move(x, y, rng.uniform(0.8, 1), rng.uniform(-0.4, 0.4))
    for radius in (1.05, 0.9):
        pen.disc(0, 0, radius, vary(rng, WHITE, 12))
    draw_parts(pen, DISHES[name], hsv(rng.random(), rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.9)))
    return develop(canvas, rng, noise=7, tint=rng.uniform(0.75, 1.05) * np.array((1, 0.95, 0.87)))

"""Render dtd: textures that are fields over turned, scaled coordinates and blend two colours."""

import math
from collections.abc import Callable

import numpy as np

from wemoe_pl.data.miniature.canvas import SIZE, Field, Picture, expose
from wemoe_pl.data.miniature.colours import Rng, hsv


def _edge(distance: Field) -> Field:
    """Return a soft step from 0 to 1 where the distance crosses zero, about a pixel wide."""
    return np.clip(0.5 + 4 * distance, 0, 1)


def _saw(x: Field) -> Field:
    """Return the distance to the nearest integer: 0 on it, a half in between."""
    return np.abs(x - np.rint(x))


def _honeycomb(u: Field, v: Field) -> Field:
    """Return the distance to the border of the hexagon around a point.

    The centres of the hexagons form two shifted rectangular grids.
    """
    root = math.sqrt(3)
    borders = []
    for shift in (0, 0.5):
        a, b = _saw(u - shift), root * _saw(v / root - shift)
        borders.append(0.5 - np.maximum(a, 0.5 * a + 0.5 * root * b))
    return np.maximum(*borders)


def _weave(u: Field, v: Field) -> Field:
    """Return the distance to the threads of a square, which cross those of its neighbours."""
    over = (np.floor(u) + np.floor(v)) % 2 == 0
    return np.where(over, _saw(3 * u), _saw(3 * v))


def _ripple(u: Field, v: Field, rng: Rng) -> Field:
    """Return smooth random hills: the sum of a few plane waves of random direction."""
    waves = zip(*rng.uniform(0, 2 * math.pi, (2, 6)), strict=True)
    hills = [np.sin(1.1 * (u * math.cos(a) + v * math.sin(a)) + phase) for a, phase in waves]
    return np.asarray(sum(hills)) / 3


Texture = Callable[[Field, Field, Rng], Field]
TEXTURES: dict[str, Texture] = {
    "chequered": lambda u, v, rng: 2 * np.sin(math.pi * u) * np.sin(math.pi * v) / math.pi,
    "cobwebbed": lambda u, v, rng: 0.1 - np.minimum(
        _saw(np.hypot(u, v)), np.hypot(u, v) * _saw(np.arctan2(v, u) * 5 / math.pi) * 0.6),
    "grid": lambda u, v, rng: 0.14 - np.minimum(_saw(u), _saw(v)),
    "honeycombed": lambda u, v, rng: 0.1 - _honeycomb(u / 1.3, v / 1.3),
    "marbled": lambda u, v, rng: 0.3 * np.sin(3 * u + 3.5 * _ripple(u, v, rng)),
    "polka-dotted": lambda u, v, rng: 0.3 - np.hypot(_saw(u), _saw(v)),
    "spiralled": lambda u, v, rng: _saw(np.hypot(u, v) + np.arctan2(v, u) / (2 * math.pi)) - 0.25,
    "striped": lambda u, v, rng: _saw(u) - 0.25,
    "woven": lambda u, v, rng: _weave(u / 1.5, v / 1.5) - 0.25,
    "zigzagged": lambda u, v, rng: _saw(u + 1.2 * _saw(v * 0.7)) - 0.25,
}  # fmt: skip

# Twice as fine as the picture, so that edges come out soft.
_AXIS = (np.arange(2 * SIZE) + 0.5) / SIZE - 1


def render_dtd(name: str, rng: Rng) -> Picture:
    """Render a texture in a dark and a light colour, turned any way."""
    hue, value = rng.random(), rng.uniform(0.3, 0.5)
    palette = [hsv(hue, 0.75, value), hsv(hue + rng.uniform(0.2, 0.8), 0.45, 0.95)]
    ground, figure = np.array(palette if rng.random() < 0.5 else palette[::-1])
    dx, dy = rng.uniform(-0.3, 0.3, 2)
    x, y = np.meshgrid(_AXIS - dx, _AXIS - dy)
    angle, scale = rng.uniform(0, 2 * math.pi), rng.uniform(2, 2.8)
    u = scale * (math.cos(angle) * x + math.sin(angle) * y)
    v = scale * (math.cos(angle) * y - math.sin(angle) * x)
    fine = _edge(TEXTURES[name](u, v, rng))
    share = fine.reshape(SIZE, 2, SIZE, 2).mean((1, 3))[..., None]
    return expose(ground + share * (figure - ground), rng, noise=6)

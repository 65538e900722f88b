"""Eight tiny rendered tasks with the names and roles of the paper's eight, for demo, tests and CI.

Every image is drawn from a seed: vector shapes on a 4x canvas, box-filtered down to 28 pixels, with
a little sensor noise.  Colours, places, sizes and angles vary inside a class, so that a model has
to look at shape; nothing is read from disk, not even a font.
"""

import colorsys
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE = 28
_OVERSAMPLING = 4
_CANVAS = SIZE * _OVERSAMPLING

Rng = np.random.Generator
Colour = tuple[int, int, int]
Points = Sequence[Sequence[float]]
Field = NDArray[np.float64]
Picture = NDArray[np.uint8]

WHITE, BLACK, GREY = (240, 240, 240), (25, 25, 30), (120, 120, 125)
RED, BLUE, YELLOW = (205, 30, 40), (30, 80, 190), (245, 195, 40)
SAND, SEA, GRASS, LEAF = (225, 200, 145), (50, 120, 180), (105, 150, 75), (45, 100, 55)


# -- tools ---------------------------------------------------------------------------------------


class Pen:
    """Draws on a canvas that spans -1 to 1 both ways, y down, through a movable frame."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)
        self.move()

    def move(
        self, x: float = 0, y: float = 0, scale: float = 1, angle: float = 0, flip: bool = False
    ) -> None:
        """Put the frame's origin at (x, y), scaled, turned by `angle` radians, or mirrored."""
        self._origin = complex(x + 1, y + 1) * _CANVAS / 2
        self._turn = scale * _CANVAS / 2 * complex(math.cos(angle), math.sin(angle))
        self._side = -1 if flip else 1
        self._scale = scale * _CANVAS / 2

    def _place(self, points: Points) -> list[tuple[float, float]]:
        placed = (self._origin + self._turn * complex(self._side * x, y) for x, y in points)
        return [(z.real, z.imag) for z in placed]

    def fill(self, points: Points, colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon(self._place(points), fill=colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """A filled rectangle, turned with the frame."""
        self.fill(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour)

    def stroke(self, points: Points, colour: Colour, width: float) -> None:
        """An open line with round ends."""
        placed, pixels = self._place(points), max(1, round(width * self._scale))
        self._draw.line(placed, fill=colour, width=pixels)
        for x, y in (placed[0], placed[-1]):
            self._draw.circle((x, y), pixels / 2, fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self._draw.circle(self._place(((x, y),))[0], radius * self._scale, fill=colour)


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    r, g, b = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * r), round(255 * g), round(255 * b)


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    r, g, b_ = (round(p + share * (q - p)) for p, q in zip(a, b, strict=True))
    return r, g, b_


def _vary(rng: Rng, colour: Colour, spread: int = 22) -> Colour:
    shift = rng.integers(-spread, spread + 1, 3).tolist()
    r, g, b = (min(max(c + d, 0), 255) for c, d in zip(colour, shift, strict=True))
    return r, g, b


def _vivid(rng: Rng) -> Colour:
    return _hsv(rng.random(), rng.uniform(0.6, 0.95), rng.uniform(0.55, 0.95))


def _polygon(sides: int, radius: float = 1, turn: float = 0) -> Points:
    angles = (turn + 2 * math.pi * k / sides for k in range(sides))
    return [(radius * math.sin(a), -radius * math.cos(a)) for a in angles]


def _cloud(rng: Rng, a: Colour, b: Colour, cells: int = 4) -> Image.Image:
    """A canvas of smooth random blends of two colours, `cells` blobs across."""
    share = rng.random((cells, cells, 1))
    grid = np.asarray(a) * (1 - share) + np.asarray(b) * share
    return _spread(grid)


def _spread(grid: NDArray[np.generic]) -> Image.Image:
    small = Image.fromarray(grid.astype(np.uint8))
    return small.resize((_CANVAS, _CANVAS), Image.Resampling.BICUBIC)


def _develop(
    image: Image.Image, rng: Rng, noise: float = 5, tint: Sequence[float] | Field | float = 1
) -> Picture:
    return _expose(np.asarray(image.reduce(_OVERSAMPLING)) * np.asarray(tint, float), rng, noise)


def _expose(light: Field, rng: Rng, noise: float) -> Picture:
    grain = noise * rng.standard_normal(light.shape)
    exposed: Field = np.clip(np.rint(light + grain), 0, 255)
    return exposed.astype(np.uint8)


# -- sun397: scenes at any hour of the day, the horizon at y = 0 -----------------------------------

_HOURS = (  # sky above, sky at the horizon, tint of the light
    ((85, 150, 230), (190, 220, 245), (1.0, 1.0, 1.0)),
    ((120, 130, 215), (255, 205, 200), (0.95, 0.88, 0.95)),
    ((225, 110, 90), (255, 210, 120), (1.0, 0.85, 0.75)),
    ((50, 60, 130), (110, 120, 190), (0.6, 0.65, 0.85)),
)


def _beach(pen: Pen, rng: Rng) -> None:
    pen.box(-3, 0, 3, 0.4, SEA)
    pen.box(-3, 0.35, 3, 3, SAND)
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
    pen.box(-3, 0.2, 3, 3, GRASS)
    for x in np.linspace(-1.3, 1.3, 6) + rng.uniform(-0.1, 0.1, 6):
        top, green = rng.uniform(-0.85, -0.4), _vary(rng, LEAF)
        pen.box(x - 0.05, 0.3, x + 0.05, 0.6, (90, 60, 40))
        pen.fill(((x - 0.32, 0.45), (x, top), (x + 0.32, 0.45)), green)


def _highway(pen: Pen, rng: Rng) -> None:
    pen.box(-3, 0, 3, 3, _vary(rng, GRASS, 30))
    pen.fill(((-0.08, 0), (0.08, 0), (1.3, 1.6), (-1.3, 1.6)), (85, 85, 92))
    for y in (0.1, 0.3, 0.62, 1.1):
        pen.fill(((-0.05 * y, y), (0.05 * y, y), (0.1 * y, 1.3 * y), (-0.1 * y, 1.3 * y)), YELLOW)


def _iceberg(pen: Pen, rng: Rng) -> None:
    pen.box(-3, 0, 3, 3, (40, 95, 140))
    top = rng.uniform(-0.2, 0.1)
    pen.fill(((-0.75, 0.2), (-0.5, -0.3), (top, -0.7), (0.4, -0.35), (0.75, 0.2)), (235, 245, 250))
    pen.fill(((top, -0.7), (0.4, -0.35), (0.75, 0.2), (0.15, 0.2)), (165, 205, 225))
    pen.fill(((-0.75, 0.22), (0.75, 0.22), (0.35, 0.7), (-0.3, 0.6)), (80, 150, 180))


def _lighthouse(pen: Pen, rng: Rng) -> None:
    pen.box(-3, 0.15, 3, 3, SEA)
    pen.fill(((-0.6, 0.55), (-0.35, 0.3), (0.4, 0.3), (0.7, 0.55), (0.9, 0.9), (-0.9, 0.9)), GREY)
    pen.fill(((-0.22, 0.4), (-0.14, -0.5), (0.14, -0.5), (0.22, 0.4)), WHITE)
    for y in (-0.35, 0.05):
        pen.box(-0.18, y, 0.18, y + 0.18, RED)
    pen.box(-0.12, -0.68, 0.12, -0.5, YELLOW)
    pen.fill(((-0.2, -0.68), (0, -0.88), (0.2, -0.68)), RED)


def _mountain(pen: Pen, rng: Rng) -> None:
    for x, height in ((-0.75, 0.6), (0.75, 0.55), (0, rng.uniform(0.7, 0.9))):
        rock = _vary(rng, (105, 105, 120))
        pen.fill(((x - height, 0.3), (x, -height), (x + height, 0.3)), rock)
        snow = ((0, -1), (0.3, -0.5), (0.12, -0.6), (0, -0.45), (-0.12, -0.6), (-0.3, -0.5))
        pen.fill([(x + height * u, height * v) for u, v in snow], WHITE)
    pen.box(-3, 0.25, 3, 3, _vary(rng, GRASS))


def _skyscraper(pen: Pen, rng: Rng) -> None:
    pen.box(-3, 0.5, 3, 3, (95, 95, 105))
    for x in np.arange(-1.6, 1.6, 0.42):
        top, wall = rng.uniform(-0.95, 0.0), _vary(rng, (85, 95, 120), 25)
        pen.box(x, top, x + 0.36, 0.6, wall)
        for y in np.arange(top + 0.1, 0.5, 0.2):
            pen.box(x + 0.08, y, x + 0.28, y + 0.08, (250, 225, 140))


def _volcano(pen: Pen, rng: Rng) -> None:
    for x, y, radius in ((0.05, -0.65, 0.17), (0.2, -0.85, 0.22), (0.45, -1.05, 0.28)):
        pen.disc(x, y, radius, (150, 145, 150))
    pen.fill(((-1.1, 0.4), (-0.22, -0.5), (0.22, -0.5), (1.1, 0.4)), (85, 60, 60))
    pen.box(-3, 0.4, 3, 3, (60, 75, 55))
    pen.fill(((-0.22, -0.5), (0.22, -0.5), (0.3, -0.1), (0.1, -0.25), (0, 0.2)), (255, 105, 30))


def _windmill(pen: Pen, rng: Rng) -> None:
    pen.box(-3, 0.3, 3, 3, GRASS)
    pen.fill(((-0.3, 0.6), (-0.16, -0.3), (0.16, -0.3), (0.3, 0.6)), (165, 110, 80))
    pen.disc(0, -0.3, 0.17, (110, 70, 55))
    for x, y in _polygon(4, 0.65, rng.uniform(0, math.pi / 2)):
        pen.stroke(((0, -0.3), (x, y - 0.3)), WHITE, 0.12)


Sketch = Callable[[Pen, Rng], None]
_SCENES: dict[str, Sketch] = {
    "beach": _beach, "desert": _desert, "forest": _forest, "highway": _highway,
    "iceberg": _iceberg, "lighthouse": _lighthouse, "mountain": _mountain,
    "skyscraper": _skyscraper, "volcano": _volcano, "windmill": _windmill,
}  # fmt: skip


def _sun397(name: str, rng: Rng) -> Picture:
    above, below, tint = _HOURS[rng.integers(len(_HOURS))]
    image = _spread(np.array([[_vary(rng, above)], [_vary(rng, below)]]))
    pen = Pen(image)
    pen.disc(rng.uniform(-0.9, 0.9), rng.uniform(-0.9, -0.5), 0.15, (255, 245, 190))
    x, y = rng.uniform(-0.25, 0.25), rng.uniform(0.05, 0.3)
    pen.move(x, y, rng.uniform(0.85, 1.1), flip=rng.random() < 0.5)
    _SCENES[name](pen, rng)
    return _develop(image, rng, tint=tint)


# -- cars: body shapes in profile, the front to the right ------------------------------------------


class _Car(NamedTuple):
    body: Points
    glass: tuple[Points, ...]
    trim: tuple[Points, ...] = ()
    wheels: tuple[float, ...] = (-0.5, 0.5)
    radius: float = 0.17


def _panes(y0: float, y1: float, *edges: float) -> tuple[Points, ...]:
    return tuple(((a, y0), (b - 0.06, y0), (b - 0.06, y1), (a, y1)) for a, b in pairwise(edges))


# fmt: off
_CARS = {
    "bus": _Car(
        ((-0.95, 0.3), (-0.95, -0.6), (0.92, -0.6), (0.95, 0.3)),
        _panes(-0.48, -0.15, -0.85, -0.5, -0.15, 0.2, 0.55, 0.93),
        wheels=(-0.6, 0.6),
    ),
    "convertible": _Car(
        ((-0.88, 0.3), (-0.85, 0), (-0.4, -0.05), (-0.35, 0.08), (0.15, 0.08), (0.2, -0.03),
         (0.85, 0.05), (0.9, 0.3)),
        (((0.13, 0), (-0.02, -0.38), (0.05, -0.38), (0.25, 0)),),
        trim=(((-0.32, 0.08), (-0.36, -0.2), (-0.24, -0.2), (-0.14, 0.08)),),
    ),
    "coupe": _Car(
        ((-0.9, 0.3), (-0.9, 0.02), (-0.12, -0.3), (0.1, -0.3), (0.42, 0), (0.92, 0.12),
         (0.92, 0.3)),
        (((-0.38, -0.04), (-0.08, -0.22), (0.06, -0.22), (0.28, -0.02)),),
        trim=(((-0.98, -0.18), (-0.66, -0.18), (-0.76, 0), (-0.84, 0), (-0.82, -0.1),
               (-0.98, -0.1)),),
        wheels=(-0.55, 0.55),
    ),
    "hatchback": _Car(
        ((-0.6, 0.3), (-0.62, -0.08), (-0.45, -0.47), (0.1, -0.47), (0.36, -0.08), (0.6, 0),
         (0.64, 0.3)),
        (((-0.46, -0.08), (-0.36, -0.37), (-0.15, -0.37), (-0.15, -0.08)),
         ((-0.07, -0.08), (-0.07, -0.37), (0.05, -0.37), (0.24, -0.08))),
        wheels=(-0.38, 0.38),
    ),
    "limousine": _Car(
        ((-1, 0.28), (-1, 0.02), (-0.8, -0.02), (-0.66, -0.28), (0.5, -0.28), (0.68, 0),
         (0.98, 0.06), (1, 0.28)),
        _panes(-0.2, -0.02, -0.62, -0.32, -0.02, 0.28, 0.56),
        wheels=(-0.78, 0.78), radius=0.15,
    ),
    "pickup": _Car(
        ((-0.92, 0.28), (-0.92, -0.05), (-0.12, -0.05), (-0.12, -0.45), (0.25, -0.45),
         (0.42, -0.08), (0.86, -0.03), (0.88, 0.28)),
        (((-0.03, -0.08), (-0.03, -0.36), (0.18, -0.36), (0.31, -0.08)),),
        wheels=(-0.55, 0.55), radius=0.19,
    ),
    "sedan": _Car(
        ((-0.85, 0.3), (-0.85, -0.03), (-0.5, -0.08), (-0.32, -0.4), (0.2, -0.4), (0.44, -0.07),
         (0.85, 0), (0.87, 0.3)),
        (((-0.39, -0.08), (-0.26, -0.31), (-0.08, -0.31), (-0.08, -0.08)),
         ((0, -0.08), (0, -0.31), (0.16, -0.31), (0.33, -0.08))),
    ),
    "suv": _Car(
        ((-0.7, 0.25), (-0.7, -0.5), (0.18, -0.5), (0.36, -0.14), (0.74, -0.1), (0.76, 0.25)),
        (*_panes(-0.4, -0.12, -0.6, -0.28, 0.04),
         ((0.04, -0.12), (0.04, -0.4), (0.12, -0.4), (0.25, -0.12))),
        trim=(((-0.62, -0.6), (0.1, -0.6), (0.1, -0.54), (-0.62, -0.54)),
              ((-0.84, 0.1), (-0.84, -0.25), (-0.72, -0.25), (-0.72, 0.1))),
        wheels=(-0.45, 0.45), radius=0.23,
    ),
    "truck": _Car(
        ((0.32, 0.3), (0.32, -0.38), (0.66, -0.38), (0.84, -0.05), (0.88, 0.3)),
        (((0.44, -0.05), (0.44, -0.28), (0.6, -0.28), (0.72, -0.05)),),
        trim=(((-0.95, 0.22), (-0.95, -0.68), (0.25, -0.68), (0.25, 0.22)),),
        wheels=(-0.7, -0.3, 0.6),
    ),
    "van": _Car(
        ((-0.8, 0.3), (-0.8, -0.55), (0.3, -0.55), (0.66, -0.1), (0.82, 0), (0.82, 0.3)),
        (((0.14, -0.08), (0.14, -0.43), (0.28, -0.43), (0.55, -0.08)),),
    ),
}
# fmt: on


def _cars(name: str, rng: Rng) -> Picture:
    car, paint = _CARS[name], _vivid(rng)
    hue = rng.random()
    image = _cloud(rng, _hsv(hue, 0.2, 0.95), _hsv(hue + 0.15, 0.3, 0.85), cells=3)
    pen = Pen(image)
    x, y = rng.uniform(-0.08, 0.08), rng.uniform(-0.05, 0.25)
    pen.move(x, y, rng.uniform(0.82, 0.98), rng.uniform(-0.08, 0.08), flip=rng.random() < 0.5)
    pen.box(-3, 0.42, 3, 3, _hsv(hue + 0.05, 0.2, 0.65))
    pen.fill(car.body, paint)
    for part in car.trim:
        pen.fill(part, _mix(paint, BLACK, 0.5))
    for part in car.glass:
        pen.fill(part, (45, 60, 80))
    for x in car.wheels:
        pen.disc(x, 0.48 - car.radius, car.radius, BLACK)
        pen.disc(x, 0.48 - car.radius, car.radius * 0.45, (200, 200, 205))
    return _develop(image, rng, noise=4)


# -- resisc45: seen from above, at any angle -------------------------------------------------------


def _airplane(pen: Pen, rng: Rng) -> None:
    pen.box(-3, -3, 3, 3, _vary(rng, (150, 150, 150)))
    pen.stroke(((0, -0.65), (0, 0.6)), WHITE, 0.2)
    for side in (-1, 1):
        pen.fill(((0, -0.25), (0.85 * side, 0.2), (0.85 * side, 0.35), (0, 0.15)), WHITE)
        pen.fill(((0, 0.4), (0.35 * side, 0.62), (0.35 * side, 0.74), (0, 0.62)), WHITE)


def _bridge(pen: Pen, rng: Rng) -> None:
    pen.box(-3, -0.6, 3, 0.6, _vary(rng, (50, 100, 140)))
    pen.box(-0.2, -3, 0.24, 3, (50, 55, 65))
    pen.box(-0.18, -3, 0.18, 3, (200, 195, 185))
    pen.stroke(((0, -3), (0, 3)), GREY, 0.06)


def _circular_farmland(pen: Pen, rng: Rng) -> None:
    for x, y in ((-0.6, -0.6), (0.6, -0.6), (-0.6, 0.6), (0.6, 0.6)):
        pen.disc(x, y, 0.54, _vary(rng, (80, 145, 60), 35))
        pen.stroke(((x, y), (x + rng.uniform(-0.3, 0.3), y + 0.42)), (165, 190, 120), 0.06)


def _intersection(pen: Pen, rng: Rng) -> None:
    pen.box(-0.24, -3, 0.24, 3, (95, 95, 100))
    pen.box(-3, -0.24, 3, 0.24, (95, 95, 100))
    for along in (-1.3, -0.9, -0.5, 0.5, 0.9, 1.3):
        pen.box(along - 0.12, -0.04, along + 0.12, 0.04, WHITE)
        pen.box(-0.04, along - 0.12, 0.04, along + 0.12, WHITE)


def _island(pen: Pen, rng: Rng) -> None:
    pen.box(-3, -3, 3, 3, _vary(rng, (40, 110, 160), 30))
    reach = rng.uniform(0.55, 0.75, 9)
    for share, colour in ((1.2, (110, 190, 200)), (1.0, SAND), (0.72, _vary(rng, LEAF))):
        coast = zip(_polygon(9), reach * share, strict=True)
        pen.fill([(x * r, y * r) for (x, y), r in coast], colour)


def _parking_lot(pen: Pen, rng: Rng) -> None:
    pen.box(-3, -3, 3, 3, _vary(rng, (90, 90, 95), 10))
    for y in (-0.9, -0.3, 0.3, 0.9):
        for x in np.arange(-1.2, 1.3, 0.3):
            paint = _hsv(rng.random(), rng.uniform(0, 0.6), 0.9)
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
    for radius, colour in ((0.62, road), (0.34, WHITE), (0.28, _vary(rng, GRASS))):
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
    pen.box(-3, -3, 3, 3, _vary(rng, (165, 155, 140), 15))
    for x, y in ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)):
        pen.disc(x + 0.1, y + 0.1, 0.38, (90, 85, 85))
        pen.disc(x, y, 0.38, WHITE)
        pen.disc(x, y, 0.1, (185, 190, 195))


_AERIALS: dict[str, Sketch] = {
    "airplane": _airplane, "bridge": _bridge, "circular farmland": _circular_farmland,
    "intersection": _intersection, "island": _island, "parking lot": _parking_lot,
    "railway": _railway, "roundabout": _roundabout, "runway": _runway,
    "storage tank": _storage_tank,
}  # fmt: skip


def _resisc45(name: str, rng: Rng) -> Picture:
    ground = _hsv(rng.uniform(0.1, 0.3), rng.uniform(0.2, 0.45), rng.uniform(0.4, 0.65))
    image = _cloud(rng, ground, _mix(ground, (70, 60, 40), 0.4), cells=7)
    pen = Pen(image)
    x, y = rng.uniform(-0.15, 0.15, 2)
    pen.move(x, y, rng.uniform(0.85, 1.1), rng.uniform(0, 2 * math.pi))
    _AERIALS[name](pen, rng)
    return _develop(image, rng, noise=5, tint=rng.uniform(0.8, 1.1))


# -- eurosat: land cover, soft and hazy ------------------------------------------------------------


class _Land(NamedTuple):
    low: Colour
    high: Colour
    cells: int
    sketch: Sketch


def _bare(pen: Pen, rng: Rng) -> None:
    """Nothing but the ground itself."""


def _annual_crop(pen: Pen, rng: Rng) -> None:
    middle = rng.uniform(-0.3, 0.3)
    for x0, x1 in ((-2, middle), (middle, 2)):
        split = rng.uniform(-0.4, 0.4)
        for y0, y1 in ((-2, split), (split, 2)):
            pen.box(x0, y0, x1, y1, _hsv(rng.uniform(0.06, 0.17), 0.45, rng.uniform(0.45, 0.85)))


def _highway_above(pen: Pen, rng: Rng) -> None:
    bend = rng.uniform(-0.25, 0.25)
    path = ((-2, bend), (-0.6, 0), (0.6, 0), (2, bend))
    pen.stroke(path, (205, 200, 195), 0.36)
    pen.stroke(path, (90, 90, 95), 0.1)


def _industrial(pen: Pen, rng: Rng) -> None:
    for x in (-1.05, 0, 1.05):
        for y in (-0.75, 0, 0.75):
            width, height = rng.uniform(0.3, 0.48), rng.uniform(0.2, 0.32)
            pen.box(x - width, y - height, x + width, y + height, _vary(rng, (215, 215, 225), 30))


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
                pen.box(x - 0.11, y - 0.1, x + 0.11, y + 0.1, _vary(rng, (185, 95, 75), 30))


def _river(pen: Pen, rng: Rng) -> None:
    x = np.linspace(-2, 2, 24)
    y = 0.35 * np.sin(rng.uniform(1.5, 2.5) * x + rng.uniform(0, 6))
    pen.stroke(np.stack((x, y), 1).tolist(), _vary(rng, (60, 95, 135)), 0.38)


_LANDS = {
    "annual crop": _Land((150, 120, 80), (190, 160, 105), 4, _annual_crop),
    "forest": _Land((15, 45, 25), (70, 110, 60), 14, _bare),
    "herbaceous vegetation": _Land((85, 100, 55), (190, 170, 120), 8, _bare),
    "highway": _Land((85, 110, 65), (150, 140, 95), 4, _highway_above),
    "industrial": _Land((110, 105, 105), (140, 135, 130), 6, _industrial),
    "pasture": _Land((105, 155, 75), (135, 180, 95), 4, _pasture),
    "permanent crop": _Land((160, 135, 95), (190, 165, 120), 5, _permanent_crop),
    "residential": _Land((90, 110, 75), (125, 135, 100), 6, _residential),
    "river": _Land((75, 105, 60), (140, 140, 90), 5, _river),
    "sea lake": _Land((20, 55, 95), (40, 85, 120), 3, _bare),
}


def _eurosat(name: str, rng: Rng) -> Picture:
    land = _LANDS[name]
    image = _cloud(rng, _vary(rng, land.low), _vary(rng, land.high), land.cells)
    pen = Pen(image)
    x, y = rng.uniform(-0.25, 0.25, 2)
    pen.move(x, y, rng.uniform(0.9, 1.15), rng.uniform(0, 2 * math.pi))
    land.sketch(pen, rng)
    season = rng.uniform(0.85, 1.1) * rng.uniform(0.95, 1.05, 3)
    return _develop(image, rng, noise=4, tint=season)


# -- mnist and svhn: one table of digit strokes ----------------------------------------------------


def _smooth(*knots: tuple[float, float]) -> Field:
    """A Catmull-Rom curve through the knots, four points a piece."""
    p = np.array((knots[0], *knots, knots[-1]))
    t = np.linspace(0, 1, 5)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    bend = 2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)
    curve: Field = b + 0.5 * t * (c - a + t * bend)
    return curve.transpose(1, 0, 2).reshape(-1, 2)


_DIGITS: tuple[tuple[Field, ...], ...] = (
    (_smooth((0, -1), (-0.45, -0.7), (-0.58, 0), (-0.45, 0.7), (0, 1), (0.45, 0.7), (0.58, 0),
             (0.45, -0.7), (0, -1)),),
    (_smooth((-0.35, -0.6), (0.05, -1)), _smooth((0.05, -1), (0.05, 1))),
    (_smooth((-0.52, -0.55), (-0.3, -0.93), (0.2, -0.95), (0.5, -0.55), (0.25, 0), (-0.55, 0.95)),
     _smooth((-0.55, 0.95), (0.6, 0.95))),
    (_smooth((-0.5, -0.75), (0, -1), (0.45, -0.7), (0.35, -0.22), (-0.1, -0.05)),
     _smooth((-0.1, -0.05), (0.42, 0.12), (0.55, 0.55), (0.1, 1), (-0.55, 0.75))),
    (_smooth((0.25, -1), (-0.6, 0.35)), _smooth((-0.6, 0.35), (0.65, 0.35)),
     _smooth((0.25, -1), (0.25, 1))),
    (_smooth((0.5, -0.95), (-0.4, -0.95)), _smooth((-0.4, -0.95), (-0.48, -0.12)),
     _smooth((-0.48, -0.12), (0.05, -0.3), (0.5, 0.05), (0.5, 0.6), (0.05, 0.98), (-0.55, 0.75))),
    (_smooth((0.4, -0.98), (-0.2, -0.6), (-0.55, 0.15), (-0.42, 0.78), (0.02, 1), (0.48, 0.75),
             (0.48, 0.2), (0.05, -0.05), (-0.5, 0.3)),),
    (_smooth((-0.55, -0.95), (0.55, -0.95)),
     _smooth((0.55, -0.95), (0.1, 0), (-0.15, 1))),
    (_smooth((0, -0.08), (-0.42, -0.4), (-0.32, -0.85), (0, -1), (0.32, -0.85), (0.42, -0.4),
             (0, -0.08), (-0.5, 0.35), (-0.4, 0.83), (0, 1), (0.4, 0.83), (0.5, 0.35),
             (0, -0.08)),),
    (_smooth((0.48, -0.6), (0.2, -0.98), (-0.3, -0.92), (-0.52, -0.5), (-0.28, -0.08),
             (0.2, -0.12), (0.48, -0.6)), _smooth((0.48, -0.75), (0.45, 0.1), (0.2, 1))),
)  # fmt: skip


def _write(pen: Pen, rng: Rng, digit: int, ink: Colour, width: float, unrest: float) -> None:
    """Draw a digit, slanted and bent by up to `unrest`."""
    slant, bend_x, bend_y = rng.uniform(-1, 1, 3) * (1.6 * unrest, unrest, unrest)
    phase = rng.uniform(0, 2 * math.pi)
    for x, y in (stroke.T for stroke in _DIGITS[digit]):
        bent = (x - slant * y + bend_x * np.sin(2 * y + phase), y + bend_y * np.sin(2 * x + phase))
        pen.stroke(np.stack(bent, 1).tolist(), ink, width)


def _mnist(name: str, rng: Rng) -> Picture:
    image = Image.new("RGB", (_CANVAS, _CANVAS))
    pen = Pen(image)
    x, y = rng.uniform(-0.1, 0.1, 2)
    pen.move(x, y, rng.uniform(0.6, 0.72), rng.uniform(-0.12, 0.12))
    _write(pen, rng, int(name), (255, 255, 255), rng.uniform(0.17, 0.32), unrest=0.16)
    return _develop(image, rng, noise=0)


def _svhn(name: str, rng: Rng) -> Picture:
    # One of wall and ink is dark and the other light, so that no hue can hide the digit.
    values = (rng.uniform(0.3, 0.45), rng.uniform(0.88, 1.0))
    dark, light = _hsv(rng.random(), 0.8, values[0]), _hsv(rng.random(), 0.35, values[1])
    wall, ink = (dark, light) if rng.random() < 0.5 else (light, dark)
    image = _cloud(rng, _vary(rng, wall, 20), _vary(rng, wall, 20), cells=3)
    pen = Pen(image)
    x, y = rng.uniform(-0.1, 0.1, 2)
    angle, scale, width = rng.uniform(-0.15, 0.15), rng.uniform(0.62, 0.75), rng.uniform(0.26, 0.36)
    for column, digit in ((-1, rng.integers(10)), (1, rng.integers(10)), (0, int(name))):
        if column == 0 or rng.random() < 0.5:
            pen.move(x + column * rng.uniform(0.98, 1.1), y + column * angle, scale, angle)
            _write(pen, rng, int(digit), ink, width, unrest=0.05)
    return _develop(image, rng, noise=9)


# -- gtsrb: traffic signs before a blurred street --------------------------------------------------


def _stop(pen: Pen, rng: Rng) -> None:
    pen.fill(_polygon(8, 1.05, math.pi / 8), WHITE)
    pen.fill(_polygon(8, 0.95, math.pi / 8), RED)
    for x, letter in zip((-0.57, -0.19, 0.19, 0.57), _LETTERS, strict=True):
        pen.stroke([(x + 0.13 * u, 0.28 * v) for u, v in letter], WHITE, 0.1)


_LETTERS: tuple[Points, ...] = (
    ((1, -1), (-1, -1), (-1, 0), (1, 0), (1, 1), (-1, 1)),
    ((-1, -1), (1, -1), (0, -1), (0, 1)),
    ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)),
    ((-1, 1), (-1, -1), (1, -1), (1, 0), (-1, 0)),
)


def _yield(pen: Pen, rng: Rng) -> None:
    pen.fill(_polygon(3, 1.15, math.pi), RED)
    pen.fill(_polygon(3, 0.62, math.pi), WHITE)


def _priority_road(pen: Pen, rng: Rng) -> None:
    for radius, colour in ((1.1, WHITE), (1.02, BLACK), (0.94, WHITE), (0.66, YELLOW)):
        pen.fill(_polygon(4, radius), colour)


def _no_entry(pen: Pen, rng: Rng) -> None:
    pen.disc(0, 0, 1, WHITE)
    pen.disc(0, 0, 0.92, RED)
    pen.box(-0.65, -0.2, 0.65, 0.2, WHITE)


def _speed_limit(pen: Pen, rng: Rng) -> None:
    pen.disc(0, 0, 1, RED)
    pen.disc(0, 0, 0.74, WHITE)
    for x, digit in ((-0.28, rng.choice((3, 5, 6, 8))), (0.28, 0)):
        for stroke in _DIGITS[digit]:
            pen.stroke((stroke * (0.34, 0.38) + (x, 0)).tolist(), BLACK, 0.13)


def _warning(pen: Pen) -> None:
    pen.fill(_polygon(3, 1.2), RED)
    pen.fill(_polygon(3, 0.76), WHITE)


def _general_caution(pen: Pen, rng: Rng) -> None:
    _warning(pen)
    pen.stroke(((0, -0.3), (0, 0.02)), BLACK, 0.2)
    pen.disc(0, 0.27, 0.11, BLACK)


def _road_narrows(pen: Pen, rng: Rng) -> None:
    _warning(pen)
    for side in (-1, 1):
        pen.stroke(((0.3 * side, 0.28), (0.1 * side, -0.02), (0.1 * side, -0.3)), BLACK, 0.13)


def _blue_disc(pen: Pen) -> None:
    pen.disc(0, 0, 1, WHITE)
    pen.disc(0, 0, 0.93, BLUE)


def _ahead_only(pen: Pen, rng: Rng) -> None:
    _blue_disc(pen)
    pen.stroke(((0, 0.55), (0, -0.2)), WHITE, 0.24)
    pen.fill(((-0.42, -0.1), (0, -0.65), (0.42, -0.1)), WHITE)


def _turn(side: int) -> Sketch:
    def sketch(pen: Pen, rng: Rng) -> None:
        _blue_disc(pen)
        pen.stroke(((-0.35 * side, 0.5), (-0.35 * side, -0.1), (0.15 * side, -0.1)), WHITE, 0.24)
        pen.fill(((0.1 * side, -0.52), (0.62 * side, -0.1), (0.1 * side, 0.32)), WHITE)

    return sketch


_SIGNS: dict[str, Sketch] = {
    "ahead only": _ahead_only, "general caution": _general_caution, "no entry": _no_entry,
    "priority road": _priority_road, "road narrows": _road_narrows, "speed limit": _speed_limit,
    "stop": _stop, "turn left ahead": _turn(-1), "turn right ahead": _turn(1), "yield": _yield,
}  # fmt: skip


def _gtsrb(name: str, rng: Rng) -> Picture:
    sky, street = _hsv(rng.uniform(0.5, 0.65), 0.3, 0.8), _hsv(rng.uniform(0.05, 0.4), 0.4, 0.4)
    image = _cloud(rng, sky, street, cells=5)
    pen = Pen(image)
    x, y = rng.uniform(-0.1, 0.1, 2)
    pen.move(x, y, rng.uniform(0.68, 0.84), rng.uniform(-0.12, 0.12))
    pen.box(-0.07, 0, 0.07, 3, (130, 130, 135))
    _SIGNS[name](pen, rng)
    return _develop(image, rng, noise=6, tint=rng.uniform(0.55, 1.05))


# -- dtd: textures, a field over turned and scaled coordinates in two colours ----------------------


def _edge(distance: Field) -> Field:
    """A soft step from 0 to 1 where the distance crosses zero, about a pixel wide."""
    return np.clip(0.5 + 4 * distance, 0, 1)


def _saw(x: Field) -> Field:
    """Distance to the nearest integer: 0 on it, a half in between."""
    return np.abs(x - np.rint(x))


def _honeycomb(u: Field, v: Field) -> Field:
    """Distance to the border of the hexagon around: centres form two shifted rectangular grids."""
    root = math.sqrt(3)
    borders = []
    for shift in (0, 0.5):
        a, b = _saw(u - shift), root * _saw(v / root - shift)
        borders.append(0.5 - np.maximum(a, 0.5 * a + 0.5 * root * b))
    return np.maximum(*borders)


def _weave(u: Field, v: Field) -> Field:
    over = (np.floor(u) + np.floor(v)) % 2 == 0
    return np.where(over, _saw(3 * u), _saw(3 * v))


def _ripple(u: Field, v: Field, rng: Rng) -> Field:
    """Smooth random hills: a few plane waves of random direction."""
    waves = zip(*rng.uniform(0, 2 * math.pi, (2, 6)), strict=True)
    hills = [np.sin(1.1 * (u * math.cos(a) + v * math.sin(a)) + phase) for a, phase in waves]
    return np.asarray(sum(hills)) / 3


Texture = Callable[[Field, Field, Rng], Field]
_TEXTURES: dict[str, Texture] = {
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


_AXIS = (np.arange(2 * SIZE) + 0.5) / SIZE - 1


def _dtd(name: str, rng: Rng) -> Picture:
    hue, value = rng.random(), rng.uniform(0.3, 0.5)
    palette = [_hsv(hue, 0.75, value), _hsv(hue + rng.uniform(0.2, 0.8), 0.45, 0.95)]
    ground, figure = np.array(palette if rng.random() < 0.5 else palette[::-1])
    x, y = np.meshgrid(_AXIS, _AXIS)
    dx, dy = rng.uniform(-0.3, 0.3, 2)
    angle, scale = rng.uniform(0, 2 * math.pi), rng.uniform(2, 2.8)
    u = scale * (math.cos(angle) * (x - dx) + math.sin(angle) * (y - dy))
    v = scale * (math.cos(angle) * (y - dy) - math.sin(angle) * (x - dx))
    share = _edge(_TEXTURES[name](u, v, rng)).reshape(SIZE, 2, SIZE, 2).mean((1, 3))[..., None]
    return _expose(ground + share * (figure - ground), rng, noise=6)


# -- the eight tasks -------------------------------------------------------------------------------

_NUMERALS = tuple("0123456789")
_TASKS: dict[str, tuple[Callable[[str, Rng], Picture], tuple[str, ...]]] = {
    "sun397": (_sun397, tuple(_SCENES)),
    "cars": (_cars, tuple(_CARS)),
    "resisc45": (_resisc45, tuple(_AERIALS)),
    "eurosat": (_eurosat, tuple(_LANDS)),
    "svhn": (_svhn, _NUMERALS),
    "gtsrb": (_gtsrb, tuple(_SIGNS)),
    "mnist": (_mnist, _NUMERALS),
    "dtd": (_dtd, tuple(_TEXTURES)),
}
_SPLITS = ("train", "test")

CLASSES: dict[str, tuple[str, ...]] = {task: names for task, (_, names) in _TASKS.items()}


def render(task: str, label: int, rng: np.random.Generator) -> Picture:
    """One image (28, 28, 3) of class `label` of `task`, drawn from `rng` alone."""
    artist, names = _TASKS[task]
    return artist(names[label], rng)


def render_split(
    task: str, split: str, size: int, seed: int = 0
) -> tuple[Picture, NDArray[np.int64]]:
    """Images (size, 28, 28, 3) and their labels, balanced: label i is i modulo the class count.

    Image i depends on (seed, task, split, i) only, so a smaller split is a prefix of a larger one.
    """
    stream = (seed, list(_TASKS).index(task), _SPLITS.index(split))
    labels = np.arange(size, dtype=np.int64) % len(CLASSES[task])
    images = np.empty((size, SIZE, SIZE, 3), np.uint8)
    for i, label in enumerate(labels):
        images[i] = render(task, int(label), np.random.default_rng([*stream, i]))
    return images, labels


def contact_sheet(columns: int = 20, scale: int = 2, seed: int = 0) -> Image.Image:
    """One row per task: its first `columns` test images, enlarged."""
    rows = [np.hstack(list(render_split(task, "test", columns, seed)[0])) for task in CLASSES]
    sheet = Image.fromarray(np.vstack(rows))
    return sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)

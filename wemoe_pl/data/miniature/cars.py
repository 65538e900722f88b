"""Render cars: body shapes in profile, the front to the right unless mirrored."""

from itertools import pairwise
from typing import NamedTuple

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import BLACK, Colour, Rng, hsv, mix
from wemoe_pl.data.miniature.pen import Pen, Points


class _Car(NamedTuple):
    body: Points
    glass: tuple[Points, ...]
    trim: tuple[Points, ...] = ()
    wheels: tuple[float, ...] = (-0.5, 0.5)
    radius: float = 0.17


def _panes(y0: float, y1: float, *edges: float) -> tuple[Points, ...]:
    """Return a row of windows between neighbouring edges, each with a post at its right."""
    return tuple(((a, y0), (b - 0.06, y0), (b - 0.06, y1), (a, y1)) for a, b in pairwise(edges))


# fmt: off
CARS = {
    "bus": _Car(
        ((-0.95, 0.3), (-0.95, -0.6), (0.92, -0.6), (0.95, 0.3)),
        _panes(-0.48, -0.15, -0.85, -0.5, -0.15, 0.2, 0.55, 0.93),
        wheels=(-0.6, 0.6)),
    "convertible": _Car(
        ((-0.88, 0.3), (-0.85, 0), (-0.4, -0.05), (-0.35, 0.08), (0.15, 0.08), (0.2, -0.03),
         (0.85, 0.05), (0.9, 0.3)),
        (((0.13, 0), (-0.02, -0.38), (0.05, -0.38), (0.25, 0)),),
        trim=(((-0.32, 0.08), (-0.36, -0.2), (-0.24, -0.2), (-0.14, 0.08)),)),
    "coupe": _Car(
        ((-0.9, 0.3), (-0.9, 0.02), (-0.12, -0.3), (0.1, -0.3), (0.42, 0), (0.92, 0.12),
         (0.92, 0.3)),
        (((-0.38, -0.04), (-0.08, -0.22), (0.06, -0.22), (0.28, -0.02)),),
        trim=(((-0.98, -0.18), (-0.66, -0.18), (-0.76, 0), (-0.84, 0), (-0.82, -0.1),
               (-0.98, -0.1)),),
        wheels=(-0.55, 0.55)),
    "hatchback": _Car(
        ((-0.6, 0.3), (-0.62, -0.08), (-0.45, -0.47), (0.1, -0.47), (0.36, -0.08), (0.6, 0),
         (0.64, 0.3)),
        (((-0.46, -0.08), (-0.36, -0.37), (-0.15, -0.37), (-0.15, -0.08)),
         ((-0.07, -0.08), (-0.07, -0.37), (0.05, -0.37), (0.24, -0.08))),
        wheels=(-0.38, 0.38)),
    "limousine": _Car(
        ((-1, 0.28), (-1, 0.02), (-0.8, -0.02), (-0.66, -0.28), (0.5, -0.28), (0.68, 0),
         (0.98, 0.06), (1, 0.28)),
        _panes(-0.2, -0.02, -0.62, -0.32, -0.02, 0.28, 0.56),
        wheels=(-0.78, 0.78), radius=0.15),
    "pickup": _Car(
        ((-0.92, 0.28), (-0.92, -0.05), (-0.12, -0.05), (-0.12, -0.45), (0.25, -0.45),
         (0.42, -0.08), (0.86, -0.03), (0.88, 0.28)),
        (((-0.03, -0.08), (-0.03, -0.36), (0.18, -0.36), (0.31, -0.08)),),
        wheels=(-0.55, 0.55), radius=0.19),
    "sedan": _Car(
        ((-0.85, 0.3), (-0.85, -0.03), (-0.5, -0.08), (-0.32, -0.4), (0.2, -0.4), (0.44, -0.07),
         (0.85, 0), (0.87, 0.3)),
        (((-0.39, -0.08), (-0.26, -0.31), (-0.08, -0.31), (-0.08, -0.08)),
         ((0, -0.08), (0, -0.31), (0.16, -0.31), (0.33, -0.08)))),
    "suv": _Car(
        ((-0.7, 0.25), (-0.7, -0.5), (0.18, -0.5), (0.36, -0.14), (0.74, -0.1), (0.76, 0.25)),
        (*_panes(-0.4, -0.12, -0.6, -0.28, 0.04),
         ((0.04, -0.12), (0.04, -0.4), (0.12, -0.4), (0.25, -0.12))),
        trim=(((-0.62, -0.6), (0.1, -0.6), (0.1, -0.54), (-0.62, -0.54)),
              ((-0.84, 0.1), (-0.84, -0.25), (-0.72, -0.25), (-0.72, 0.1))),
        wheels=(-0.45, 0.45), radius=0.23),
    "truck": _Car(
        ((0.32, 0.3), (0.32, -0.38), (0.66, -0.38), (0.84, -0.05), (0.88, 0.3)),
        (((0.44, -0.05), (0.44, -0.28), (0.6, -0.28), (0.72, -0.05)),),
        trim=(((-0.95, 0.22), (-0.95, -0.68), (0.25, -0.68), (0.25, 0.22)),),
        wheels=(-0.7, -0.3, 0.6)),
    "van": _Car(
        ((-0.8, 0.3), (-0.8, -0.55), (0.3, -0.55), (0.66, -0.1), (0.82, 0), (0.82, 0.3)),
        (((0.14, -0.08), (0.14, -0.43), (0.28, -0.43), (0.55, -0.08)),)),
}
# fmt: on


def render_cars(name: str, rng: Rng) -> Picture:
    """Render a car of any colour on a street, slightly tilted or mirrored."""
    paint = hsv(rng.random(), rng.uniform(0.6, 0.95), rng.uniform(0.55, 0.95))
    hue = rng.random()
    canvas = cloud(rng, hsv(hue, 0.2, 0.95), hsv(hue + 0.15, 0.3, 0.85), cells=3)
    pen = Pen(canvas)
    x, y = rng.uniform(-0.08, 0.08), rng.uniform(-0.05, 0.25)
    pen.move(x, y, rng.uniform(0.82, 0.98), rng.uniform(-0.08, 0.08), flip=rng.random() < 0.5)
    pen.ground(hsv(hue + 0.05, 0.2, 0.65), top=0.42)
    draw_car(pen, name, paint)
    return develop(canvas, rng, noise=4)


def draw_car(pen: Pen, name: str, paint: Colour) -> None:
    """Draw a car of a colour, its wheels down to y = 0.48."""
    car = CARS[name]
    pen.fill(car.body, paint)
    for part in car.trim:
        pen.fill(part, mix(paint, BLACK, 0.5))
    for part in car.glass:
        pen.fill(part, (45, 60, 80))
    for wheel in car.wheels:
        pen.disc(wheel, 0.48 - car.radius, car.radius, BLACK)
        pen.disc(wheel, 0.48 - car.radius, car.radius * 0.45, (200, 200, 205))

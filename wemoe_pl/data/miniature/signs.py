"""Render gtsrb: traffic signs before a blurred street, in any light."""

import math

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import BLACK, BLUE, RED, WHITE, YELLOW, Rng, hsv
from wemoe_pl.data.miniature.digits import DIGITS
from wemoe_pl.data.miniature.pen import Pen, Points, Sketch, polygon

_LETTERS: tuple[Points, ...] = (  # S, T, O, P
    ((1, -1), (-1, -1), (-1, 0), (1, 0), (1, 1), (-1, 1)),
    ((-1, -1), (1, -1), (0, -1), (0, 1)),
    ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)),
    ((-1, 1), (-1, -1), (1, -1), (1, 0), (-1, 0)),
)


def _stop(pen: Pen, rng: Rng) -> None:
    pen.fill(polygon(8, 1.05, math.pi / 8), WHITE)
    pen.fill(polygon(8, 0.95, math.pi / 8), RED)
    for x, letter in zip((-0.57, -0.19, 0.19, 0.57), _LETTERS, strict=True):
        pen.stroke([(x + 0.13 * u, 0.28 * v) for u, v in letter], WHITE, 0.1)


def _yield(pen: Pen, rng: Rng) -> None:
    pen.fill(polygon(3, 1.15, math.pi), RED)
    pen.fill(polygon(3, 0.62, math.pi), WHITE)


def _priority_road(pen: Pen, rng: Rng) -> None:
    for radius, colour in ((1.1, WHITE), (1.02, BLACK), (0.94, WHITE), (0.66, YELLOW)):
        pen.fill(polygon(4, radius), colour)


def _no_entry(pen: Pen, rng: Rng) -> None:
    pen.disc(0, 0, 1, WHITE)
    pen.disc(0, 0, 0.92, RED)
    pen.box(-0.65, -0.2, 0.65, 0.2, WHITE)


def _speed_limit(pen: Pen, rng: Rng) -> None:
    pen.disc(0, 0, 1, RED)
    pen.disc(0, 0, 0.74, WHITE)
    for x, digit in ((-0.28, rng.choice((3, 5, 6, 8))), (0.28, 0)):
        for stroke in DIGITS[digit]:
            pen.stroke((stroke * (0.34, 0.38) + (x, 0)).tolist(), BLACK, 0.13)


def _warning(pen: Pen) -> None:
    pen.fill(polygon(3, 1.2), RED)
    pen.fill(polygon(3, 0.76), WHITE)


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


SIGNS: dict[str, Sketch] = {
    "ahead only": _ahead_only, "general caution": _general_caution, "no entry": _no_entry,
    "priority road": _priority_road, "road narrows": _road_narrows, "speed limit": _speed_limit,
    "stop": _stop, "turn left ahead": _turn(-1), "turn right ahead": _turn(1), "yield": _yield,
}  # fmt: skip


def render_gtsrb(name: str, rng: Rng) -> Picture:
    """Render a sign on its post, slightly tilted, in the light of any hour."""
    sky, street = hsv(rng.uniform(0.5, 0.65), 0.3, 0.8), hsv(rng.uniform(0.05, 0.4), 0.4, 0.4)
    canvas = cloud(rng, sky, street, cells=5)
    pen = Pen(canvas)
    x, y = rng.uniform(-0.1, 0.1, 2)
    pen.move(x, y, rng.uniform(0.68, 0.84), rng.uniform(-0.12, 0.12))
    pen.box(-0.07, 0, 0.07, 3, (130, 130, 135))
    SIGNS[name](pen, rng)
    return develop(canvas, rng, noise=6, tint=rng.uniform(0.55, 1.05))

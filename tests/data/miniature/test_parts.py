"""Parts are polygons that are drawn from back to front."""

import numpy as np
import pytest
from PIL import Image

from wemoe_pl.data.miniature.canvas import CANVAS
from wemoe_pl.data.miniature.colours import BLACK
from wemoe_pl.data.miniature.parts import bar, box, draw_parts, mirrored, oval
from wemoe_pl.data.miniature.pen import Pen, Points

OWN = (200, 100, 40)


def area(points: Points) -> float:
    """By the shoelace formula."""
    x, y = np.asarray(points, float).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (box(-0.5, 0, 0.5, 0.25), 0.25),
        (oval(0.1, 0.2, 0.5), np.pi / 4),
        (oval(0, 0, 0.5, 0.25), np.pi / 8),
        (bar(0, 0, 0.6, 0.8, 0.1), 0.1),
        (mirrored((-0.5, -1), (-0.5, 1)), 2),
    ],
)
def test_a_shape_has_its_area(shape: Points, expected: float) -> None:
    assert area(shape) == pytest.approx(expected, rel=0.01)


def test_an_outline_is_the_same_on_both_sides() -> None:
    outline = mirrored((0, -1), (-0.5, 0), (-0.2, 1))
    assert {(-x, y) for x, y in outline} == {(x, y) for x, y in outline}


def test_what_comes_later_lies_in_front() -> None:
    canvas = Image.new("RGB", (CANVAS, CANVAS))
    draw_parts(Pen(canvas), (("own", oval(0, 0, 0.8)), ("black", oval(0, 0, 0.3))), OWN)
    assert canvas.getpixel((CANVAS // 2, CANVAS // 2)) == BLACK
    assert canvas.getpixel((CANVAS // 2 + 30, CANVAS // 2)) == OWN

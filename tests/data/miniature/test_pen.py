"""The pen's frame moves, turns, scales and mirrors what is drawn in it."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wemoe_pl.data.miniature.canvas import CANVAS
from wemoe_pl.data.miniature.pen import Pen, polygon

INK = (255, 255, 255)


@pytest.fixture
def canvas() -> Image.Image:
    return Image.new("RGB", (CANVAS, CANVAS))


def inked(canvas: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(canvas.convert("L")) > 0


def centre(canvas: Image.Image) -> tuple[float, float]:
    """Where the ink is on average, as (x, y) from -1 to 1."""
    y, x = np.nonzero(inked(canvas))
    return 2 * x.mean() / CANVAS - 1, 2 * y.mean() / CANVAS - 1


@pytest.mark.parametrize(
    ("frame", "place"),
    [
        ({}, (0.5, 0)),
        ({"x": -0.25, "y": 0.5}, (0.25, 0.5)),
        ({"scale": 0.5}, (0.25, 0)),
        ({"angle": math.pi / 2}, (0, 0.5)),
        ({"flip": True}, (-0.5, 0)),
        ({"flip": True, "angle": math.pi / 2, "x": 0.25}, (0.25, -0.5)),
    ],
)
def test_a_disc_lies_where_the_frame_puts_it(
    canvas: Image.Image, frame: dict[str, Any], place: tuple[float, float]
) -> None:
    pen = Pen(canvas)
    pen.move(**frame)
    pen.disc(0.5, 0, 0.2, INK)
    assert centre(canvas) == pytest.approx(place, abs=0.03)


@pytest.mark.parametrize("angle", np.linspace(0, 2 * math.pi, 9))
def test_ground_covers_the_canvas_in_any_frame(canvas: Image.Image, angle: float) -> None:
    pen = Pen(canvas)
    pen.move(0.3, -0.3, scale=0.8, angle=angle)
    pen.ground(INK)
    assert inked(canvas).all()


def test_ground_begins_at_its_top(canvas: Image.Image) -> None:
    Pen(canvas).ground(INK, top=0)
    half = CANVAS // 2
    assert inked(canvas)[half:].all()
    assert not inked(canvas)[:half].any()


def test_the_thinnest_stroke_still_shows(canvas: Image.Image) -> None:
    Pen(canvas).stroke(((-0.5, 0), (0.5, 0)), INK, width=0)
    assert inked(canvas).sum() >= CANVAS // 2


def test_a_polygon_has_its_first_corner_at_the_top_and_all_at_its_radius() -> None:
    corners = polygon(5, 0.7)
    assert corners[0] == pytest.approx((0, -0.7))
    assert [math.hypot(x, y) for x, y in corners] == pytest.approx([0.7] * 5)

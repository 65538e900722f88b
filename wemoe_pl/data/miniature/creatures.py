"""Render stl10 and cifar10: animals and vehicles, sharp in stl10 and coarse in cifar10."""

from PIL import Image

from wemoe_pl.data.miniature.canvas import CANVAS, OVERSAMPLING, Picture, cloud, develop
from wemoe_pl.data.miniature.cars import draw_car
from wemoe_pl.data.miniature.colours import GRASS, SEA, WHITE, Rng, hsv, mix
from wemoe_pl.data.miniature.parts import Parts, bar, box, draw_parts, mirrored, oval
from wemoe_pl.data.miniature.pen import Pen

# fmt: off
SHARP = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
COARSE = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)
# fmt: on
_CAR_BODIES = {"automobile": "sedan", "car": "hatchback", "truck": "truck"}


def _beast(
    legs: float, x: float, y: float, head: float, snout: float, tail: float, *crown: float
) -> Parts:
    """Return a beast with legs of some length, head at (x, y), and ears or antlers at slants."""
    back = 0.5 - legs
    return (
        *(("dark", bar(leg, back, leg, 0.7, 0.12)) for leg in (-0.25, 0.2)),
        *(("own", bar(leg, back, leg, 0.7, 0.12)) for leg in (-0.45, 0.4)),
        ("own", bar(-0.5, back, -0.8, back + tail, 0.1)), ("own", oval(0, back, 0.56, 0.22)),
        ("own", bar(0.35, back + 0.05, x, y, 0.24)),
        *(("dark", bar(x, y, x + slant, y - head - 0.15, 0.08)) for slant in crown),
        ("own", oval(x, y, head)), ("own", bar(x, y, x + snout, y + 0.3 * snout, 0.18)),
        ("black", oval(x + 0.04, y - 0.03, 0.05)),
    )  # fmt: skip


CREATURES: dict[str, Parts] = {
    "airplane": (
        ("own", ((-0.8, 0.05), (-0.98, -0.5), (-0.78, -0.5), (-0.5, -0.05))),
        ("metal", ((0.2, -0.1), (-0.2, -0.4), (0, -0.4), (0.4, -0.1))),
        ("white", oval(0, 0, 0.85, 0.15)), ("black", oval(0.7, -0.05, 0.07)),
        ("metal", ((0.2, 0), (-0.45, 0.5), (-0.2, 0.5), (0.42, 0)))),
    "bird": (
        ("own", ((-0.3, 0.1), (-0.95, -0.2), (-0.9, 0.1), (-0.3, 0.35))),
        ("black", box(-0.08, 0.3, 0, 0.7)), ("black", box(0.1, 0.3, 0.18, 0.7)),
        ("cheese", ((0.45, -0.48), (0.85, -0.35), (0.45, -0.25))), ("own", oval(0, 0.12, 0.38)),
        ("own", oval(0.35, -0.35, 0.24)), ("dark", ((-0.55, 0.2), (0.15, -0.1), (0.05, 0.3))),
        ("black", oval(0.4, -0.4, 0.06))),
    "cat": _beast(0.3, 0.52, -0.02, 0.25, 0.01, -0.5, -0.17, 0.17),
    "deer": _beast(0.5, 0.6, -0.45, 0.14, 0.2, 0.05, -0.35, -0.15, 0.12, 0.32),
    "dog": _beast(0.36, 0.58, -0.08, 0.2, 0.28, -0.2, -0.3),
    "frog": (
        *(("own", bar(0.3 * side, 0.4, 0.75 * side, 0.05, 0.2)) for side in (-1, 1)),
        *(("own", bar(0.75 * side, 0.05, 0.6 * side, 0.65, 0.2)) for side in (-1, 1)),
        *(("own", oval(x, -0.3, 0.2)) for x in (-0.28, 0.28)),
        *(("black", oval(x, -0.3, 0.1)) for x in (-0.28, 0.28)),
        ("own", oval(0, 0.2, 0.48)), ("light", oval(0, 0.34, 0.3)),
        ("black", oval(0, 0, 0.3, 0.04))),
    "horse": _beast(0.55, 0.72, -0.45, 0.16, 0.3, 0.45, -0.12, -0.02),
    "monkey": (
        ("own", bar(-0.3, 0.5, -0.85, 0.3, 0.1)), ("own", bar(-0.85, 0.3, -0.75, -0.25, 0.1)),
        *(("own", bar(0.2 * side, 0, 0.55 * side, 0.6, 0.14)) for side in (-1, 1)),
        *(("dark", oval(x, -0.38, 0.16)) for x in (-0.42, 0.42)), ("own", oval(0, 0.3, 0.34, 0.42)),
        ("own", oval(0, -0.4, 0.38)), ("skin", oval(0, -0.34, 0.26)),
        *(("black", oval(x, -0.42, 0.06)) for x in (-0.1, 0.1))),
    "ship": (
        ("own", mirrored((-0.9, 0.1), (-0.7, 0.6))), ("white", box(-0.6, -0.25, 0.35, 0.1)),
        ("dark", box(-0.4, -0.65, -0.2, -0.25)), ("dark", box(0, -0.65, 0.2, -0.25))),
}  # fmt: skip


def render_stl10(name: str, rng: Rng) -> Picture:
    """Render an animal or a vehicle outside, as a sharp picture."""
    return develop(_photograph(name, rng), rng, noise=4)


def render_cifar10(name: str, rng: Rng) -> Picture:
    """Render an animal or a vehicle outside, at half the resolution."""
    return develop(coarse(_photograph(name, rng)), rng, noise=8)


def coarse(canvas: Image.Image) -> Image.Image:
    """Return the canvas as if it had been photographed at half the resolution."""
    small = canvas.reduce(2 * OVERSAMPLING)
    return small.resize((CANVAS, CANVAS), Image.Resampling.BILINEAR)


def _photograph(name: str, rng: Rng) -> Image.Image:
    sky, soil = hsv(rng.uniform(0.5, 0.65), rng.uniform(0.1, 0.5), 0.9), hsv(rng.random(), 0.4, 0.6)
    canvas = cloud(rng, sky, mix(sky, WHITE, 0.5), cells=4)
    pen, top = Pen(canvas), rng.uniform(0.2, 0.5)
    if name != "airplane":
        pen.ground(SEA if name == "ship" else mix(GRASS, soil, 0.5), top)
    own = hsv(rng.random(), rng.uniform(0.3, 0.8), rng.uniform(0.35, 0.8))
    x, y = rng.uniform(-0.12, 0.12, 2)
    pen.move(x, y, rng.uniform(0.75, 0.98), rng.uniform(-0.1, 0.1), flip=rng.random() < 0.5)
    if name in _CAR_BODIES:
        draw_car(pen, _CAR_BODIES[name], own)
    else:
        draw_parts(pen, CREATURES[name], own)
    return canvas

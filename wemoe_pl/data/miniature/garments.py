"""Render fashion_mnist: garments in grey before black."""

from PIL import Image

from wemoe_pl.data.miniature.canvas import CANVAS, Picture, develop
from wemoe_pl.data.miniature.colours import Rng
from wemoe_pl.data.miniature.parts import Parts, box, draw_parts, mirrored
from wemoe_pl.data.miniature.pen import Pen

_SLEEVED = mirrored(
    (-0.2, -0.8), (-0.45, -0.72), (-0.82, 0.6), (-0.58, 0.68), (-0.44, 0), (-0.44, 0.75)
)
_SOLE = box(-0.85, 0.38, 0.85, 0.48)

GARMENTS: dict[str, Parts] = {
    "t-shirt": (
        ("own", mirrored((-0.18, -0.75), (-0.45, -0.68), (-0.9, -0.3), (-0.7, -0.02),
                         (-0.46, -0.22), (-0.46, 0.78))),),
    "trouser": (
        ("own", mirrored((-0.34, -0.9), (-0.4, 0.9), (-0.1, 0.9), (-0.02, -0.35))),
        ("dark", box(-0.34, -0.9, 0.34, -0.8))),
    "pullover": (("own", _SLEEVED), ("dark", box(-0.44, 0.62, 0.44, 0.75))),
    "dress": (
        ("own", mirrored((-0.22, -0.92), (-0.32, -0.5), (-0.2, -0.1), (-0.5, 0.92))),
        ("dark", box(-0.2, -0.16, 0.2, -0.06))),
    "coat": (
        ("own", mirrored((-0.2, -0.9), (-0.45, -0.8), (-0.78, 0.45), (-0.56, 0.52), (-0.46, 0),
                         (-0.52, 0.92))),
        ("black", box(-0.03, -0.4, 0.03, 0.92)), ("dark", mirrored((-0.2, -0.9), (0, -0.35)))),
    "shirt": (
        ("own", _SLEEVED), ("dark", mirrored((-0.25, -0.85), (0, -0.55))),
        *(("dark", box(-0.05, y, 0.05, y + 0.1)) for y in (-0.4, -0.1, 0.2, 0.5))),
    "sneaker": (
        ("own", ((-0.85, 0.4), (-0.8, 0.15), (-0.2, 0), (0.2, -0.25), (0.8, -0.3), (0.85, 0.4))),
        ("light", _SOLE), ("dark", ((-0.2, 0.05), (0.15, -0.15), (0.25, 0), (-0.1, 0.2)))),
    "bag": (
        ("dark", mirrored((-0.35, -0.8), (-0.5, -0.2))), ("black", box(-0.28, -0.7, 0.28, -0.2)),
        ("own", mirrored((-0.7, -0.2), (-0.78, 0.7))), ("dark", box(-0.7, 0.05, 0.7, 0.13))),
    "ankle boot": (
        ("own", ((-0.85, 0.4), (-0.8, 0.1), (-0.1, -0.1), (0, -0.8), (0.65, -0.8), (0.7, 0.4))),
        ("dark", _SOLE), ("dark", box(0.4, 0.48, 0.85, 0.62))),
}  # fmt: skip


def render_fashion_mnist(name: str, rng: Rng) -> Picture:
    """Render a garment of any shade, narrower or wider, hung or laid a little askew."""
    canvas = Image.new("RGB", (CANVAS, CANVAS))
    pen, shade = Pen(canvas), round(rng.uniform(90, 250))
    x, y = rng.uniform(-0.08, 0.08, 2)
    pen.move(x, y, rng.uniform(0.8, 0.98), rng.uniform(-0.08, 0.08), flip=rng.random() < 0.3)
    wide, skew = rng.uniform(0.85, 1.12), rng.uniform(-0.08, 0.08)
    parts = [
        (tone, [(wide * u + skew * v, v) for u, v in points]) for tone, points in GARMENTS[name]
    ]
    draw_parts(pen, tuple(parts), (shade, shade, shade))
    return develop(canvas.convert("L").convert("RGB"), rng, noise=4)

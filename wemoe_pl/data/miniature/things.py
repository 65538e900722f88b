"""Render cifar100: everyday things before a plain wall, as coarse as the pictures of cifar10."""

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import Rng, hsv
from wemoe_pl.data.miniature.creatures import coarse
from wemoe_pl.data.miniature.parts import Parts, box, draw_parts, mirrored, oval
from wemoe_pl.data.miniature.pen import Pen

THINGS: dict[str, Parts] = {
    "apple": (
        ("own", oval(-0.25, 0.1, 0.5, 0.58)), ("own", oval(0.25, 0.1, 0.5, 0.58)),
        ("wood", box(-0.05, -0.75, 0.06, -0.35)),
        ("leaf", ((0.05, -0.55), (0.3, -0.8), (0.6, -0.7), (0.3, -0.5)))),
    "aquarium fish": (
        ("dark", ((0.3, 0), (0.9, -0.5), (0.75, 0), (0.9, 0.5))), ("own", oval(-0.15, 0, 0.6, 0.4)),
        ("light", box(-0.2, -0.36, -0.05, 0.36)), ("light", box(0.15, -0.3, 0.28, 0.3)),
        ("black", oval(-0.5, -0.08, 0.08))),
    "bottle": (
        ("own", mirrored((-0.13, -0.9), (-0.13, -0.45), (-0.34, -0.15), (-0.34, 0.85))),
        ("white", box(-0.34, 0.1, 0.34, 0.5)), ("dark", box(-0.16, -0.95, 0.16, -0.78))),
    "butterfly": (
        ("own", mirrored((0, -0.2), (-0.85, -0.8), (-0.8, 0), (0, 0.15))),
        ("dark", mirrored((0, 0), (-0.6, 0.2), (-0.5, 0.75), (0, 0.3))),
        ("light", oval(-0.55, -0.35, 0.15)), ("light", oval(0.55, -0.35, 0.15)),
        ("black", oval(0, 0, 0.08, 0.5))),
    "chair": (
        ("own", box(-0.5, -0.9, -0.32, 0.85)), ("own", box(-0.5, 0, 0.5, 0.18)),
        ("dark", box(0.34, 0.1, 0.5, 0.85)), ("dark", box(-0.32, -0.75, -0.15, 0))),
    "clock": (
        ("own", oval(0, 0, 0.8)), ("white", oval(0, 0, 0.62)),
        ("black", box(-0.06, -0.45, 0.06, 0)), ("black", box(0, -0.05, 0.4, 0.07))),
    "mushroom": (
        ("light", mirrored((-0.16, -0.1), (-0.24, 0.8))),
        ("own", mirrored((-0.2, -0.7), (-0.6, -0.45), (-0.8, 0.05))),
        ("white", oval(-0.35, -0.25, 0.12)), ("white", oval(0.3, -0.3, 0.14))),
    "rocket": (
        ("dark", mirrored((-0.2, 0.1), (-0.6, 0.8))), ("tomato", mirrored((-0.18, 0.6), (0, 1))),
        ("own", mirrored((0, -0.95), (-0.26, -0.45), (-0.26, 0.65))),
        ("white", oval(0, -0.2, 0.15))),
}  # fmt: skip


def render_cifar100(name: str, rng: Rng) -> Picture:
    """Render a thing of any colour, tilted or mirrored."""
    hue = rng.random()
    canvas = cloud(rng, hsv(hue, 0.25, 0.8), hsv(hue + 0.1, 0.35, 0.6), cells=3)
    pen = Pen(canvas)
    x, y = rng.uniform(-0.15, 0.15, 2)
    pen.move(x, y, rng.uniform(0.75, 1), rng.uniform(-0.25, 0.25), flip=rng.random() < 0.5)
    own = hsv(rng.random(), rng.uniform(0.5, 0.9), rng.uniform(0.45, 0.95))
    draw_parts(pen, THINGS[name], own)
    return develop(coarse(canvas), rng, noise=8, tint=rng.uniform(0.8, 1.1))

"""Render pcam: stained tissue, which is a tumour if large nuclei are in its middle."""

import math

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import Colour, Rng, hsv, mix, vary
from wemoe_pl.data.miniature.pen import Pen

TISSUES = ("lymph node", "metastatic tumor")


def render_pcam(name: str, rng: Rng) -> Picture:
    """Render small round nuclei, and large ones: in the middle of a tumour, else at the border."""
    stain = hsv(rng.uniform(0.85, 0.93), rng.uniform(0.25, 0.45), 0.9)
    dark = hsv(rng.uniform(0.72, 0.8), rng.uniform(0.5, 0.7), rng.uniform(0.4, 0.6))
    canvas = cloud(rng, stain, mix(stain, (250, 235, 245), 0.5), cells=8)
    pen = Pen(canvas)
    for x, y in rng.uniform(-1.05, 1.05, (rng.integers(20, 34), 2)):
        pen.disc(x, y, rng.uniform(0.06, 0.1), vary(rng, dark))
    near, far = (0.0, 0.35) if name == "metastatic tumor" else (0.78, 1.0)
    for _ in range(rng.integers(3, 7)):
        reach, angle = rng.uniform(near, far), rng.uniform(0, 2 * math.pi)
        _nucleus(pen, rng, reach * math.cos(angle), reach * math.sin(angle), dark)
    return develop(canvas, rng, noise=7, tint=rng.uniform(0.85, 1.1))


def _nucleus(pen: Pen, rng: Rng, x: float, y: float, dark: Colour) -> None:
    """Draw a large nucleus of irregular outline, with a darker grain."""
    size, (dx, dy) = rng.uniform(0.11, 0.17), rng.uniform(-0.06, 0.06, 2)
    tone = vary(rng, mix(dark, (60, 20, 80), 0.35), 15)
    pen.disc(x, y, size, tone)
    pen.disc(x + dx, y + dy, size * 0.9, tone)
    pen.disc(x, y, 0.05, mix(tone, (20, 0, 40), 0.6))

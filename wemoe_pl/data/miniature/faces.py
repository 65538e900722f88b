"""Render fer2013: grey faces, whose brows, eyes and mouth show a feeling."""

from typing import NamedTuple

import numpy as np

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import BLACK, Colour, Rng, mix
from wemoe_pl.data.miniature.pen import Pen


class _Feeling(NamedTuple):
    brow: float  # the height of the brow above the eye
    frown: float  # half the height of the brow's outer end above its inner end
    eye: float  # the mean radius of the white and the pupil
    smile: float  # the height of the mouth's corners above its middle
    gape: float  # half the height of the open mouth
    width: float = 0.32  # half the width of the mouth


FEELINGS = {
    "angry": _Feeling(0.17, 0.14, 0.08, -0.08, 0.06),
    "disgusted": _Feeling(0.15, 0.08, 0.05, -0.16, 0, 0.24),
    "fearful": _Feeling(0.3, -0.14, 0.14, -0.06, 0.11, 0.3),
    "happy": _Feeling(0.24, -0.02, 0.08, 0.18, 0.06, 0.38),
    "neutral": _Feeling(0.22, 0, 0.09, 0, 0),
    "sad": _Feeling(0.22, -0.14, 0.07, -0.15, 0),
    "surprised": _Feeling(0.36, 0, 0.14, 0, 0.2, 0.17),
}


def _grey(value: float) -> Colour:
    return (round(value),) * 3


def render_fer2013(name: str, rng: Rng) -> Picture:
    """Render a face of any complexion and hair before a grey wall; its features vary a little."""
    skin, hair = _grey(rng.uniform(120, 220)), _grey(rng.uniform(20, 110))
    canvas = cloud(rng, _grey(rng.uniform(40, 200)), _grey(rng.uniform(40, 200)), cells=3)
    pen = Pen(canvas)
    x, y = rng.uniform(-0.1, 0.1, 2)
    pen.move(x, y, rng.uniform(0.9, 1.05), rng.uniform(-0.12, 0.12))
    pen.disc(0, -0.18, 0.8, hair)
    pen.box(-0.8, -0.2, 0.8, rng.uniform(-0.2, 0.9), hair)
    pen.disc(0, -0.05, 0.68, skin)
    pen.disc(0, 0.3, 0.58, skin)
    pen.stroke(((0, -0.05), (0.05, 0.18)), mix(skin, BLACK, 0.3), 0.07)
    plain = np.array(FEELINGS[name]) + rng.uniform(-0.03, 0.03, 6)
    _draw_features(pen, _Feeling(*plain.tolist()), mix(hair, BLACK, 0.5))
    return develop(canvas, rng, noise=6, tint=rng.uniform(0.8, 1.1))


def _draw_features(pen: Pen, feeling: _Feeling, dark: Colour) -> None:
    for side in (-1, 1):
        pen.disc(0.28 * side, -0.15, feeling.eye * 1.25, _grey(240))
        pen.disc(0.28 * side, -0.15, feeling.eye * 0.75, BLACK)
        outer, inner = (-0.15 - feeling.brow + tilt * feeling.frown for tilt in (-1, 1))
        pen.stroke(((0.45 * side, outer), (0.14 * side, inner)), dark, 0.09)
    along = np.linspace(-1, 1, 9)
    middle = 0.5 + feeling.smile * (0.5 - along**2)
    lips = np.maximum(feeling.gape, 0.01) * np.sqrt(1 - along**2)
    rim = [np.stack((feeling.width * along, middle + half), 1) for half in (lips, -lips)]
    pen.fill(np.concatenate((rim[0], rim[1][::-1])).tolist(), BLACK)
    for lip in rim:
        pen.stroke(lip.tolist(), _grey(70), 0.07)

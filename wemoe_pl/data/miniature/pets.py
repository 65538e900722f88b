"""Render pets: the faces of cats and dogs, which differ in ears, coat and muzzle."""

from typing import NamedTuple

from wemoe_pl.data.miniature.canvas import Picture, cloud, develop
from wemoe_pl.data.miniature.colours import BLACK, WHITE, Rng, hsv, mix
from wemoe_pl.data.miniature.pen import Pen, Points, polygon

_POINTED = ((0.15, -0.5), (0.6, -1), (0.62, -0.1))
_LARGE = ((0.08, -0.45), (0.95, -0.95), (0.6, 0.1))
_SMALL = ((0.25, -0.45), (0.58, -0.7), (0.6, -0.2))
_FOLDED = ((0.25, -0.6), (0.75, -0.62), (0.72, -0.2), (0.5, -0.35))
_HANGING = ((0.3, -0.6), (0.7, -0.5), (0.95, 0.3), (0.75, 0.6), (0.55, 0.2))


class _Breed(NamedTuple):
    ear: Points  # the outline of the right ear
    ears: float = 0  # the darkness of the ears
    muzzle: float = 0  # the darkness of the muzzle; below zero, it is light
    stripes: bool = False
    blaze: bool = False  # a white line down the face
    fur: float = 0  # the length of the tufts at the outline


BREEDS = {
    "abyssinian": _Breed(_LARGE, ears=0.15),
    "beagle": _Breed(_HANGING, ears=0.5, muzzle=-0.8, blaze=True),
    "bengal": _Breed(_POINTED, stripes=True),
    "boxer": _Breed(_FOLDED, muzzle=0.6, blaze=True),
    "persian": _Breed(_SMALL, muzzle=-0.5, fur=0.1),
    "pug": _Breed(_FOLDED, ears=0.7, muzzle=0.75),
    "samoyed": _Breed(_POINTED, muzzle=-0.5, fur=0.16),
    "siamese": _Breed(_POINTED, ears=0.7, muzzle=0.6),
}


def render_pets(name: str, rng: Rng) -> Picture:
    """Render a face with a coat of any natural colour, before any wall, slightly tilted."""
    breed, hue = BREEDS[name], rng.random()
    coat = hsv(rng.uniform(0.04, 0.12), rng.uniform(0.1, 0.6), rng.uniform(0.6, 0.95))
    canvas = cloud(rng, hsv(hue, 0.35, 0.6), hsv(hue + 0.2, 0.3, 0.85), cells=3)
    pen = Pen(canvas)
    x, y = rng.uniform(-0.1, 0.1), rng.uniform(0, 0.2)
    pen.move(x, y, rng.uniform(0.85, 1), rng.uniform(-0.2, 0.2))
    ring, inner = polygon(48, 0.66 + breed.fur), polygon(48, 0.66)
    pen.fill([(ring if k % 2 else inner)[k] for k in range(48)], coat)
    for side in (-1, 1):
        pen.fill([(side * u, v) for u, v in breed.ear], mix(coat, BLACK, breed.ears or 0.2))
    if breed.stripes:
        for u, v in ((-0.25, -0.5), (0, -0.55), (0.25, -0.5)):
            pen.stroke(((u, v), (0.7 * u, -0.25)), mix(coat, BLACK, 0.7), 0.09)
            pen.stroke(((2.4 * u, 0.1), (1.6 * u, 0.15)), mix(coat, BLACK, 0.7), 0.09)
    if breed.blaze:
        pen.stroke(((0, -0.6), (0, 0.2)), WHITE, 0.18)
    pen.disc(0, 0.28, 0.32, mix(coat, BLACK if breed.muzzle > 0 else WHITE, abs(breed.muzzle)))
    for side in (-1, 1):
        pen.disc(0.29 * side, -0.1, 0.11, BLACK)
        pen.stroke(((0, 0.3), (0.13 * side, 0.42)), BLACK, 0.06)
    pen.disc(0, 0.2, 0.1, BLACK)
    return develop(canvas, rng, noise=6, tint=rng.uniform(0.75, 1.1))

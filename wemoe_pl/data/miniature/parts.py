"""Draw objects from parts: polygons in tones of the object's own colour, or in fixed colours."""

from wemoe_pl.data.miniature.colours import BLACK, LEAF, WHITE, Colour, mix
from wemoe_pl.data.miniature.pen import Pen, Points, polygon

Parts = tuple[tuple[str, Points], ...]


def box(x0: float, y0: float, x1: float, y1: float) -> Points:
    """Return the corners of a rectangle."""
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def oval(x: float, y: float, rx: float, ry: float | None = None) -> Points:
    """Return the outline of an ellipse around (x, y), or of a circle of radius `rx`."""
    return [(x + rx * u, y + (ry or rx) * v) for u, v in polygon(32)]


def bar(x0: float, y0: float, x1: float, y1: float, width: float) -> Points:
    """Return the corners of a straight line of some width, without round ends."""
    along = complex(x1 - x0, y1 - y0)
    across = 0.5j * width * along / abs(along)
    ends = (complex(x0, y0) + across, complex(x1, y1) + across)
    return [(z.real, z.imag) for z in (*ends, ends[1] - 2 * across, ends[0] - 2 * across)]


def mirrored(*left: tuple[float, float]) -> Points:
    """Return an outline that is symmetric about x = 0, from its left half, top to bottom."""
    return (*left, *((-x, y) for x, y in reversed(left)))


def draw_parts(pen: Pen, parts: Parts, own: Colour) -> None:
    """Draw an object of a colour, part by part, from back to front."""
    tones = {
        "own": own, "dark": mix(own, BLACK, 0.4), "light": mix(own, WHITE, 0.55), "black": BLACK,
        "white": WHITE, "leaf": LEAF, "wood": (125, 85, 55), "metal": (150, 155, 160),
        "skin": (225, 180, 140), "bread": (215, 160, 85), "crust": (165, 105, 50),
        "cheese": (250, 205, 90), "tomato": (205, 50, 35), "salad": (110, 175, 60),
    }  # fmt: skip
    for tone, points in parts:
        pen.fill(points, tones[tone])

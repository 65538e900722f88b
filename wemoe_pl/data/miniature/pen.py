"""Define a pen that draws vector shapes."""

import math
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from wemoe_pl.data.miniature.canvas import CANVAS
from wemoe_pl.data.miniature.colours import Colour, Rng

Points = Sequence[Sequence[float]]


class Pen:
    """A pen draws on a canvas that spans -1 to 1 both ways, y down, through a movable frame.

    In any frame used here a coordinate of ±3 lies outside the canvas.
    """

    def __init__(self, canvas: Image.Image):
        self._draw = ImageDraw.Draw(canvas)
        self.move()

    def move(
        self, x: float = 0, y: float = 0, scale: float = 1, angle: float = 0, flip: bool = False
    ) -> None:
        """Put the frame's origin at (x, y), scaled, turned by `angle` radians, or mirrored."""
        self._origin = complex(x + 1, y + 1) * CANVAS / 2
        self._scale = scale * CANVAS / 2
        self._turn = self._scale * complex(math.cos(angle), math.sin(angle))
        self._side = -1 if flip else 1

    def fill(self, points: Points, colour: Colour) -> None:
        """Draw a filled polygon."""
        self._draw.polygon(self._place(points), fill=colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Draw a filled rectangle, turned with the frame."""
        self.fill(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour)

    def ground(self, colour: Colour, top: float = -3) -> None:
        """Fill everything below `top`; by default the whole canvas."""
        self.box(-3, top, 3, 3, colour)

    def stroke(self, points: Points, colour: Colour, width: float) -> None:
        """Draw an open line with round ends."""
        placed, pixels = self._place(points), max(1, round(width * self._scale))
        self._draw.line(placed, fill=colour, width=pixels)
        for end in (placed[0], placed[-1]):
            self._draw.circle(end, pixels / 2, fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Draw a filled circle."""
        self._draw.circle(self._place(((x, y),))[0], radius * self._scale, fill=colour)

    def _place(self, points: Points) -> list[tuple[float, float]]:
        placed = (self._origin + self._turn * complex(self._side * x, y) for x, y in points)
        return [(z.real, z.imag) for z in placed]


Sketch = Callable[[Pen, Rng], None]


def polygon(sides: int, radius: float = 1, turn: float = 0) -> Points:
    """Return the corners of a regular polygon, the first one at the top unless turned."""
    angles = (turn + 2 * math.pi * k / sides for k in range(sides))
    return [(radius * math.sin(a), -radius * math.cos(a)) for a in angles]

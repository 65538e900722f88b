"""Two tasks share their creatures: one sees them sharp, the other with half as many pixels."""

import numpy as np
from PIL import Image

from wemoe_pl.data.miniature.canvas import CANVAS, OVERSAMPLING
from wemoe_pl.data.miniature.creatures import COARSE, CREATURES, SHARP, coarse


def test_every_creature_is_in_one_of_the_tasks_and_most_in_both() -> None:
    assert set(CREATURES) <= {*SHARP, *COARSE}
    assert len({*SHARP} & {*COARSE}) == 8


def test_what_is_coarse_has_half_as_many_pixels() -> None:
    """Stripes a pixel wide are gone, and a large area keeps its colour."""
    stripes = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    stripes[:, np.arange(CANVAS) // OVERSAMPLING % 2 == 1] = 200
    blurred = np.asarray(coarse(Image.fromarray(stripes)))
    assert blurred.min() == blurred.max() == 100

"""Colours stay triples of bytes, however they are chosen."""

import numpy as np

from wemoe_pl.data.miniature.colours import BLACK, WHITE, hsv, mix, vary


def test_hues_repeat() -> None:
    assert hsv(0, 1, 1) == hsv(1, 1, 1) == hsv(-1, 1, 1) == (255, 0, 0)
    assert hsv(1 / 3, 1, 1) == (0, 255, 0)


def test_a_mixture_lies_between_its_colours() -> None:
    assert mix(WHITE, BLACK, 0) == WHITE
    assert mix(WHITE, BLACK, 1) == BLACK
    assert mix((0, 100, 200), (100, 100, 0), 0.25) == (25, 100, 150)


def test_a_varied_colour_stays_near_and_in_range() -> None:
    rng = np.random.default_rng(0)
    varied = np.array([vary(rng, (5, 128, 250), spread=10) for _ in range(200)])
    np.testing.assert_array_equal(varied.min(0), (0, 118, 240))
    np.testing.assert_array_equal(varied.max(0), (15, 138, 255))

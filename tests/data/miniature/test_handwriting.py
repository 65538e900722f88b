"""Glyphs are described by knots on a grid, and written as a hand writes them."""

import numpy as np
import pytest

from wemoe_pl.data.miniature.handwriting import glyph, handwritten, smooth


def test_a_curve_goes_through_its_knots() -> None:
    knots = ((0, -1), (0.5, 0), (-0.5, 1))
    curve = smooth(knots)
    assert all(np.abs(curve - knot).max(1).min() < 1e-12 for knot in knots)


def test_a_glyph_has_a_stroke_for_each_list_of_knots_on_its_grid() -> None:
    down, across = glyph("40 48,04 84")
    np.testing.assert_allclose(down[[0, -1]], [(0, -1), (0, 1)], atol=1e-12)
    np.testing.assert_allclose(across[[0, -1]], [(-0.6, 0), (0.6, 0)], atol=1e-12)


def test_a_pen_that_is_twice_as_broad_leaves_a_line_that_is_twice_as_broad() -> None:
    thin, thick = (
        handwritten(glyph("40 48"), np.random.default_rng(0), width, width, unrest=0)[14].sum()
        for width in (0.2, 0.4)
    )
    assert thick / thin == pytest.approx(2, rel=0.2)

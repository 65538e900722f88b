"""The digits' strokes, which handwriting, house numbers and speed limits share."""

import numpy as np
import pytest

from wemoe_pl.data.miniature.digits import DIGITS, NUMERALS, render_mnist


def test_there_are_strokes_for_every_numeral() -> None:
    assert len(DIGITS) == len(NUMERALS) == 10
    assert all(strokes for strokes in DIGITS)


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_fills_its_height_and_stays_within_its_box(digit: int) -> None:
    x, y = np.concatenate(DIGITS[digit]).T
    assert np.abs(x).max() < 0.66
    assert np.abs(y).max() < 1.05
    assert np.ptp(y) > 1.9


@pytest.mark.parametrize("numeral", NUMERALS)
def test_handwriting_is_white_on_black_and_stays_inside(numeral: str) -> None:
    picture = render_mnist(numeral, np.random.default_rng(0))
    assert (picture == picture[..., :1]).all()
    assert picture.max() == 255
    assert not picture[[0, -1]].any()
    assert not picture[:, [0, -1]].any()

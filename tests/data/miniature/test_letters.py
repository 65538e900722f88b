"""Letters and kana have strokes that fill their box."""

import numpy as np
import pytest

from wemoe_pl.data.miniature.handwriting import Glyph
from wemoe_pl.data.miniature.letters import (
    KANA,
    LETTERS,
    render_emnist_letters,
    render_kmnist,
)


@pytest.mark.parametrize("strokes", [*LETTERS.values(), *KANA.values()], ids=[*LETTERS, *KANA])
def test_a_glyph_fills_its_height_and_stays_within_its_box(strokes: Glyph) -> None:
    x, y = np.concatenate(strokes).T
    assert np.abs(x).max() < 0.66
    assert np.abs(y).max() < 1.05
    assert np.ptp(y) > 1.4


def test_letters_and_kana_are_white_on_black() -> None:
    for picture in (
        *(render_emnist_letters(name, np.random.default_rng(0)) for name in LETTERS),
        *(render_kmnist(name, np.random.default_rng(0)) for name in KANA),
    ):
        assert (picture == picture[..., :1]).all()
        assert picture.max() == 255
        assert not picture[[0, -1]].any()

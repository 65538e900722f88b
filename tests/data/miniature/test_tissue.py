"""Only the middle of a picture of tissue tells its class."""

import numpy as np
import pytest

from wemoe_pl.data.miniature.tissue import TISSUES, render_pcam


def darkness(name: str, part: slice) -> float:
    pictures = [render_pcam(name, np.random.default_rng(seed)) for seed in range(100)]
    return float(np.mean([255 - picture[part, part].mean() for picture in pictures]))


def test_a_tumour_is_darker_in_its_middle_only() -> None:
    whole, middle = slice(0, 28), slice(9, 19)
    normal, tumour = TISSUES
    assert darkness(tumour, middle) > darkness(normal, middle) + 15
    assert darkness(tumour, whole) == pytest.approx(darkness(normal, whole), rel=0.12)

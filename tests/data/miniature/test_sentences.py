"""A sentence has one word that tells its class, in letters that there are."""

from itertools import chain

import numpy as np
import pytest

from wemoe_pl.data.miniature.letters import LETTERS
from wemoe_pl.data.miniature.sentences import NEUTRAL, VERDICTS, render_rendered_sst2

WORDS = [*NEUTRAL, *chain(*VERDICTS.values())]


def test_no_word_is_of_two_kinds_and_all_can_be_written() -> None:
    assert len(set(WORDS)) == len(WORDS)
    assert set("".join(WORDS)) <= set(LETTERS)


def test_no_letter_tells_the_class() -> None:
    negative, positive = (set("".join(words)) for words in VERDICTS.values())
    assert negative ^ positive <= set("".join(NEUTRAL))


@pytest.mark.parametrize("name", VERDICTS)
def test_there_is_print_in_each_third_and_none_is_cut_off_at_the_sides(name: str) -> None:
    for seed in range(20):
        picture = render_rendered_sst2(name, np.random.default_rng(seed)).mean(2)
        dark = picture < np.median(picture) - 60
        assert not dark[:, [0, -1]].any()
        assert all(third.any(1).sum() >= 5 for third in np.split(dark, (9, 19)))

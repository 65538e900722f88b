"""Every form of MLP is measured beside the plain one of the same form."""

import warnings

import pytest

from wemoe_pl.bench.forms import DICTIONARIES, FORMS, forms
from wemoe_pl.bench.subjects import Settings
from wemoe_pl.moe.kernels import why_mapped

SETTINGS = Settings(shapes=("miniature",), samples=(1, 3), experts=(2,), depths=(1,), repeats=1)


def test_ratios_are_to_the_plain_mlp_of_the_same_form() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of them takes a slow way
        rows = [*forms(SETTINGS)]
    assert [row["form"] for row in rows[::2]] == [*FORMS, *DICTIONARIES] * 2
    for plain, merged in zip(rows[::2], rows[1::2], strict=True):
        assert (plain["run"], merged["run"]) == ("plain", "WEMoE")
        assert plain["form"] == merged["form"]
        assert merged["forward ×"] == merged["forward"] / plain["forward"]
        assert merged["both ×"] == merged["both"] / plain["both"]


@pytest.mark.parametrize("form", FORMS)
def test_no_form_runs_sample_by_sample(form: str) -> None:
    assert why_mapped(FORMS[form](96)) is None

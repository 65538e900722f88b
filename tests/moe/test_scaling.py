"""The range of the scaling coefficient."""

import pytest

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.scaling import DEFAULT_SCALING, check_scaling


@pytest.mark.parametrize("scaling", [0.0, DEFAULT_SCALING, 1.0])
def test_a_coefficient_from_0_to_1_will_do(scaling: float) -> None:
    check_scaling(scaling)


@pytest.mark.parametrize("scaling", [-0.1, 1.1, float("nan")])
def test_any_other_is_refused_in_a_sentence(scaling: float) -> None:
    with pytest.raises(MergeError, match=f"is {scaling}: choose a number from 0 to 1; the paper"):
        check_scaling(scaling)

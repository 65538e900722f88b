"""The table of references agrees with the methods that it names."""

import pytest

from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.training.references import REFERENCES


@pytest.mark.parametrize("key", REFERENCES)
def test_a_reference_is_called_what_its_method_is(key: str) -> None:
    reference = REFERENCES[key]
    assert reference.method_for(WEMoE()).label == reference.label
    assert reference.title == key.replace("_", " ")


def test_task_arithmetic_is_compared_at_the_scaling_coefficient_of_the_method() -> None:
    reference = REFERENCES["task_arithmetic"]
    assert reference.method_for(WEMoE(init_lambda=0.1)) == TaskArithmetic(0.1)


def test_what_no_merged_model_can_reach_comes_last() -> None:
    assert [reference.is_ceiling for reference in REFERENCES.values()] == [False, False, True]

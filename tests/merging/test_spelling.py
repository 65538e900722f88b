"""Every method has one spelling, whatever stands around its name."""

import pytest

import wemoe_pl
from wemoe_pl.merging.spelling import SPELLINGS, spelled
from wemoe_pl.training.references import REFERENCES


@pytest.mark.parametrize(
    ("method", "spelling"),
    [
        ("SimpleAverage", "simple averaging"),
        ("SVC", "SVC"),
        ("SimpleAverage + LiNeS + SVC", "simple averaging + LiNeS + SVC"),
        ("Pretrained, not adapted", "pretrained, not adapted"),
        ("Layer-wise AdaMerging++", "layer-wise AdaMerging++"),
        ("Pretrained-again", "Pretrained-again"),
        ("MyIndividual", "MyIndividual"),
        ("", ""),
    ],
)
def test_names_of_ours_are_spelled_and_others_are_left_alone(method: str, spelling: str) -> None:
    assert spelled(method) == spelling
    assert spelled(spelling) == spelling


def test_what_is_spelled_is_what_a_method_is_called() -> None:
    adamerging = [wemoe_pl.AdaMerging(granularity="task"), wemoe_pl.AdaMerging(granularity="layer")]
    static = [wemoe_pl.SimpleAverage(), wemoe_pl.TaskArithmetic(), wemoe_pl.Pretrained()]
    methods = [*adamerging, *static, wemoe_pl.Individual(), wemoe_pl.Fisher()]
    assert {method.label for method in methods} | {"MultiTaskTraining"} == set(SPELLINGS)


def test_columns_of_references_are_spelled_as_rows_are() -> None:
    assert all(spelled(reference.label) == reference.title for reference in REFERENCES.values())

"""Each sentence, when it warns and when it does not, and the figure that it names."""

from collections.abc import Callable

import pytest

from wemoe_pl.preflight.advice.classes import Containment
from wemoe_pl.preflight.advice.confidence import Confidence
from wemoe_pl.preflight.advice.measures import TaskVectorFigures
from wemoe_pl.preflight.advice.sentences import (
    CONFIDENT,
    NORM_RATIO,
    REACH,
    SAME,
    class_sentences,
    confidence_sentences,
    conflict_sentence,
    cosine_sentence,
    head_sentences,
    left_out_sentences,
    length_sentence,
    norm_ratio_sentence,
    outside_sentence,
    reach_sentence,
    under_confident,
    unseen_sentences,
    vector_sentences,
)

Figures = Callable[..., TaskVectorFigures]


def sure(probability: float) -> Confidence:
    """The confidence of an expert with this mean probability."""
    return Confidence(probability, 0.1, 8, "test")


def test_every_sentence_names_a_figure_and_a_source(figures: Figures) -> None:
    for sentence in vector_sentences(figures([3, 0], [0, 4])):
        assert sentence.figure
        assert "arXiv" in sentence.source
        assert sentence.text.endswith((".", ".)"))
        assert sentence.limit in (None, SAME) or "measured" in sentence.source


def test_lengths_are_told_in_percent(figures: Figures) -> None:
    sentence = length_sentence(figures([3, 0], [0, 4]))
    assert sentence.value == pytest.approx(0.04)
    assert "3.0% to 4.0% as long" in sentence.text
    assert not sentence.warns


def test_a_long_task_vector_is_warned_of_by_name(figures: Figures) -> None:
    even, odd = (
        norm_ratio_sentence(figures([3, 0], [0, 4])),
        norm_ratio_sentence(figures([3, 0], [0, 9])),
    )
    assert (even.warns, odd.warns) == (False, True)
    assert odd.value == pytest.approx(3.0)
    assert odd.value > NORM_RATIO >= even.value
    assert "(b) is 3.0 times as long as the shortest (a), above 2.1" in odd.text
    assert "Fine-tune b with a smaller learning rate" in odd.text
    assert "not above 2.1: no task outweighs" in even.text


def test_equal_experts_are_warned_of_and_near_ones_are_not(figures: Figures) -> None:
    same, near = (cosine_sentence(figures([1, 0], second)) for second in ([2, 0], [1, 0.2]))
    assert (same.warns, near.warns) == (True, False)
    assert "(a, b) have a cosine of 1.00" in same.text
    assert "merging counts them twice" in same.text
    assert "share nothing have a cosine of 0" in near.text


def test_a_sum_that_leads_too_far_is_warned_of_with_a_coefficient(figures: Figures) -> None:
    few = figures([1, 0], [0, 1])
    many = figures(*([1.0, 0.0] for _ in range(5)))
    near, far = reach_sentence(few), reach_sentence(many)
    assert (near.warns, far.warns) == (False, True)
    assert (near.value, far.value) == pytest.approx((0.3 * 2**0.5, 1.5))
    assert far.value > REACH
    assert "0.60 times as far from the pretrained weights as the furthest expert with 2" in far.text
    assert "1.50 times with 5: further than any expert itself. A coefficient of 0.20" in far.text
    assert "no further than an expert itself." in near.text


def test_what_is_not_routed_is_judged_by_itself(figures: Figures) -> None:
    inside = outside_sentence(figures([0, 1], [0, 1]))
    assert (inside.value, inside.warns) == (0, False)
    assert inside.text.startswith("0% of the squared length")
    outside = outside_sentence(figures(*([1.0, 0.0] for _ in range(5))))
    assert outside.value == pytest.approx(1.5)
    assert outside.warns
    assert outside.text.startswith("100% of the squared length")


def test_conflicts_are_told_for_two_experts_and_for_all(figures: Figures) -> None:
    pair = conflict_sentence(figures([1, 0], [0, 1], conflicts=(0.2,)))
    assert pair.value == 0.2
    assert "with 2 experts" not in pair.text
    three = conflict_sentence(figures([1, 0], [0, 1], [1, 1], conflicts=(0.2, 0.5)))
    assert "50% of those that any of 3 experts has" in three.text
    assert three.text.endswith("with 2 experts it is 20%.")


def test_experts_below_the_limit_are_named(figures: Figures) -> None:
    [sentence] = confidence_sentences({"a": sure(0.99), "b": sure(0.5), "c": sure(0.8)})
    assert (sentence.value, sentence.limit, sentence.warns) == (0.5, CONFIDENT, True)
    assert "below 0.81, as 2 of 3 experts do (b, c)." in sentence.text
    [fine] = confidence_sentences({"a": sure(0.99), "b": sure(CONFIDENT)})
    assert not fine.warns
    assert "which is not below 0.81." in fine.text


def test_without_images_nothing_is_said_of_confidence() -> None:
    assert [*confidence_sentences({})] == []
    lost: dict[str, Confidence | str] = {"a": "There is no folder a."}
    assert [*confidence_sentences(lost)] == []
    [sentence] = unseen_sentences(lost)
    assert sentence.text == (
        "The confidence of the expert of a was not measured: There is no folder a."
    )
    assert under_confident(lost) == []
    assert [*unseen_sentences({"a": sure(0.9)})] == []


def test_shared_classes_are_warned_of() -> None:
    inner, equal = class_sentences(
        [Containment("few", "many", 2, equal=False), Containment("a", "b", 3, equal=True)]
    )
    assert inner.text.startswith("many has all 2 classes of few: ")
    assert equal.text.startswith("a and b have the same 3 classes: ")
    assert inner.warns
    assert [*class_sentences([])] == []


def test_heads_and_experts_that_do_not_fit_are_told_with_the_reason() -> None:
    [head] = head_sentences({"a": "It is for 17 features."})
    assert head.text == "The head of a cannot be used: It is for 17 features."
    [expert] = left_out_sentences({"b": "It is missing."})
    assert expert.text == "The expert of b cannot be merged, and is left out: It is missing."
    assert head.warns
    assert expert.warns
    assert [*head_sentences({}), *left_out_sentences({})] == []

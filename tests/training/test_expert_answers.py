"""The experts' answers against the experts themselves, of images that come again."""

import torch

from wemoe_pl.data.suite import Suite
from wemoe_pl.merging import Individual
from wemoe_pl.model.building import build_classifier
from wemoe_pl.training.expert_answers import ExpertAnswers


def test_experts_are_asked_once_and_their_answers_kept_in_order(tiny_suite: Suite) -> None:
    experts = build_classifier(tiny_suite, Individual())
    answers = ExpertAnswers(experts)
    images = torch.randn(5, 3, 28, 28)
    batches = [("cars", images[:3]), ("mnist", images), ("cars", images[3:])]
    with torch.inference_mode():
        right = [experts(batch, task).argmax(dim=-1) for task, batch in batches]
        first = [answers.of_batch(task, batch) for task, batch in batches]
        answers.start_again()
        blank = torch.zeros_like(images)  # no expert is there to look at it
        again = [answers.of_batch(task, blank[: len(batch)]) for task, batch in batches]
    for expected, *found in zip(right, first, again, strict=True):
        assert [answer.tolist() for answer in found if answer is not None] == [
            expected.tolist()
        ] * 2


def test_a_task_without_an_expert_has_no_answers(tiny_suite: Suite) -> None:
    suite = tiny_suite.restricted_to(None, unseen=["mnist"])
    answers = ExpertAnswers(build_classifier(suite, Individual()))
    assert answers.of_batch("mnist", torch.zeros(1, 3, 28, 28)) is None

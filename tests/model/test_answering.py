"""Questions about the images of one batch are answered as if each had been asked alone."""

import pytest
import torch
from torch import Tensor

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.answering import Prediction, Question, answers_to
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.classifier import MultiTaskClassifier


@pytest.fixture(scope="module")
def model(tiny_suite: Suite) -> MultiTaskClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_classifier(tiny_suite, WEMoE(init_std=0.1)).eval()


IMAGES = torch.randn(5, 3, 28, 28, generator=torch.Generator().manual_seed(0))
QUESTIONS = [
    Question(3, "mnist", 2),
    Question(0),
    Question(3),
    Question(1, "cars", 4),
    Question(0, "mnist"),
    Question(0, top=3),
]


@torch.inference_mode()
def asked(
    model: MultiTaskClassifier, questions: list[Question], images: Tensor = IMAGES
) -> list[Prediction]:
    return answers_to(questions, model, images, model.tasks, "entropy")


def nearly(answer: Prediction, other: Prediction) -> bool:
    same = (answer.task, answer.class_name) == (other.task, other.class_name)
    shares = [share for _, share in other.top]
    return same and [share for _, share in answer.top] == pytest.approx(shares, rel=1e-4)


def test_each_answer_is_that_of_its_image_and_its_task(model: MultiTaskClassifier) -> None:
    answers = asked(model, QUESTIONS)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        row = IMAGES[question.row : question.row + 1]
        [alone] = model.predict(row, question.task, top=question.top, reject=False)
        assert nearly(answer, alone)
        assert (answer.task_confidence is None) == (question.task is not None)
    assert [len(answer.top) for answer in answers] == [2, 1, 1, 4, 1, 3]


def test_routing_infers_the_task_from_the_weights_of_the_image(model: MultiTaskClassifier) -> None:
    expected = model.predict(IMAGES, rule="routing", reject=False)
    assert len({answer.task_confidence for answer in expected}) == len(IMAGES)
    rows = [4, 1, 3]
    questions = [Question(0, "mnist"), *map(Question, rows)]
    with torch.inference_mode():
        _, *answers = answers_to(questions, model, IMAGES, model.tasks, "routing")
    for row, answer in zip(rows, answers, strict=True):
        assert nearly(answer, expected[row])
        assert answer.task_confidence == pytest.approx(expected[row].task_confidence, rel=1e-4)


def test_each_question_has_its_own_threshold(model: MultiTaskClassifier) -> None:
    [guess] = asked(model, [Question(0)])
    strict = {str(guess.task): 1.1}
    none, other, told = asked(
        model, [Question(0, least=strict), Question(0), Question(0, guess.task, least=strict)]
    )
    assert none._replace(task_confidence=None) == Prediction(None, None, None, None, [])
    assert none.task_confidence == pytest.approx(guess.task_confidence, rel=1e-4)
    assert other.task == told.task == guess.task


def test_the_experts_see_only_the_images_of_their_tasks(tiny_suite: Suite) -> None:
    model = build_classifier(tiny_suite, Individual()).eval()
    told = [question for question in QUESTIONS if question.task]
    for question, answer in zip(told, asked(model, told), strict=True):
        row = IMAGES[question.row : question.row + 1]
        assert nearly(answer, model.predict(row, question.task, top=question.top)[0])


def test_a_task_that_is_none_is_named(model: MultiTaskClassifier) -> None:
    with pytest.raises(ConfigError, match=r"^The model has no head for 'minst'\. Did you mean"):
        asked(model, [Question(0, "minst")])


def test_no_questions_have_no_answers(model: MultiTaskClassifier) -> None:
    assert asked(model, []) == []

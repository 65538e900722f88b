"""Accuracy, calibration and information against sums that are written out."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.training.metrics import Information, TaskScores, never_right, normalized_mean


def random_scores(classes: int, samples: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(samples, classes, generator=generator) * 2
    return logits, torch.randint(classes, (samples,), generator=generator)


def test_accuracy_counts_samples_not_classes() -> None:
    scores = TaskScores({"rare": 3})
    labels = torch.tensor([0] * 8 + [1, 2])
    scores.update("rare", torch.eye(3)[torch.zeros(10, dtype=torch.long)], labels)
    assert scores.accuracy()["rare"] == pytest.approx(0.8)  # averaged over classes, 1/3


def test_a_single_class_is_always_right_and_says_nothing() -> None:
    scores = TaskScores({"one": 1, "two": 2})
    for labels in (torch.tensor([0, 0, UNLABELLED]), torch.tensor([0])):
        scores.update("one", torch.randn(len(labels), 1), labels)
    scores.gather()
    assert scores.images() == {"one": 3}
    assert scores.accuracy() == {"one": 1.0}
    assert scores.calibration_error() == {"one": 0.0}
    assert scores.information() == {"one": 0.0}
    assert scores.diversity() == {"one": 1.0}
    assert scores.confusion()["one"].tolist() == [[3]]


def test_a_class_without_images_leaves_all_figures_finite() -> None:
    scores = TaskScores({"pets": 3})
    logits = torch.tensor([[2.0, 0, 1], [0, 2, 1], [0, 1, 2], [3, 0, 0]])
    scores.update("pets", logits, torch.tensor([0, 1, 1, 0]))
    assert scores.accuracy() == {"pets": 0.75}
    assert scores.confusion()["pets"].tolist() == [[2, 0, 0], [0, 1, 1], [0, 0, 0]]
    others = [scores.calibration_error(), scores.information(), scores.diversity()]
    assert all(math.isfinite(figures["pets"]) for figures in others)


def test_accuracy_is_correct_answers_over_answers_in_any_batches() -> None:
    scores = TaskScores({"cars": 7, "unseen": 2})
    logits, labels = random_scores(classes=7, samples=50)
    for part in (slice(0, 32), slice(32, 50)):
        scores.update("cars", logits[part], labels[part])
    correct = sum(int(row.argmax() == label) for row, label in zip(logits, labels, strict=True))
    assert scores.accuracy() == {"cars": pytest.approx(correct / 50)}


def test_entropy_and_agreement_need_no_labels() -> None:
    scores = TaskScores({"cars": 7, "asked": 7})
    logits, expert = random_scores(classes=7, samples=50)
    unknown = torch.full((50,), UNLABELLED)
    for part in (slice(0, 32), slice(32, 50)):
        scores.update("asked", logits[part], unknown[part], expert[part])
    scores.update("cars", logits, unknown)
    scores.gather()
    p = logits.double().softmax(dim=-1)
    entropy = pytest.approx(float(-(p * p.log()).sum(dim=-1).mean()), abs=1e-6)
    assert scores.entropy() == {"cars": entropy, "asked": entropy}
    alike = sum(int(row.argmax() == own) for row, own in zip(logits, expert, strict=True))
    assert scores.agreement() == {"asked": alike / 50}  # of cars, no expert was asked


def test_calibration_error_matches_fifteen_bins_written_out() -> None:
    scores = TaskScores({"cars": 4})
    logits, labels = random_scores(classes=4, samples=200)
    scores.update("cars", logits, labels)
    confidence, predicted = logits.softmax(dim=-1).max(dim=-1)
    expected = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            accuracy = (predicted == labels)[inside].float().mean()
            gap = abs(accuracy - confidence[inside].mean())
            expected += (inside.float().mean() * gap).item()
    assert scores.calibration_error()["cars"] == pytest.approx(expected, abs=1e-6)


def test_figures_do_not_depend_on_the_order_of_the_batches_to_the_last_bit() -> None:
    logits, labels = random_scores(classes=7, samples=600)
    labels[::5] = UNLABELLED

    def figures(order: list[int]) -> list[dict[str, float]]:
        scores = TaskScores({"cars": 7})
        for start in order:
            scores.update("cars", logits[start : start + 6], labels[start : start + 6])
        return [
            scores.accuracy(),
            scores.calibration_error(),
            scores.information(),
            scores.diversity(),
        ]

    forwards = list(range(0, 600, 6))
    turns = [start for rank in range(4) for start in forwards[rank::4]]  # as four processes have
    assert figures(forwards) == figures(forwards[::-1]) == figures(turns)


def test_an_answer_that_is_no_number_tells_nothing() -> None:
    information = Information(2)
    information.update(torch.full((3, 2), torch.nan))
    assert information.compute().item() == 0.0


def test_infinite_answers_are_certain_ones() -> None:
    information = Information(3)
    high, low = torch.inf, -torch.inf
    information.update(torch.tensor([[high, low, 0.0], [low, high, low]]))
    assert information.entropy == 0
    assert information.compute().item() == pytest.approx(math.log(2) / math.log(3), abs=1e-6)


def test_the_normalized_mean_is_the_mean_of_ratios() -> None:
    accuracy, individual = {"a": 0.4, "b": 0.9, "new": 0.1}, {"a": 0.8, "b": 0.9}
    assert normalized_mean(accuracy, individual) == pytest.approx((0.4 / 0.8 + 0.9 / 0.9) / 2)
    assert normalized_mean(accuracy, {}) is None


def test_a_task_whose_expert_is_never_right_is_named_where_it_is_left_out() -> None:
    individual = {"cars": 0.0, "dtd": 0.8}
    assert normalized_mean({"cars": 0.5, "dtd": 0.4}, individual) == 0.5
    assert never_right(individual) == ["cars"]
    assert normalized_mean({"cars": 0.5}, {"cars": 0.0}) is None


def test_images_without_labels_are_not_counted() -> None:
    scores = TaskScores({"cars": 7, "dtd": 7})
    logits, labels = random_scores(classes=7, samples=50)
    scores.update("dtd", logits, torch.full_like(labels, UNLABELLED))
    assert scores.accuracy() == scores.calibration_error() == {}
    known = labels.clone()
    known[::3] = UNLABELLED
    scores.update("cars", logits, known)
    alone = TaskScores({"cars": 7})
    alone.update("cars", logits[known >= 0], labels[known >= 0])
    assert scores.accuracy() == alone.accuracy()
    assert scores.calibration_error() == alone.calibration_error()


def test_information_is_entropy_of_the_mean_less_the_mean_entropy() -> None:
    logits, labels = random_scores(classes=7, samples=50)
    scores = TaskScores({"cars": 7})
    for part in (slice(0, 32), slice(32, 50)):
        scores.update("cars", logits[part], torch.full_like(labels[part], UNLABELLED))
    rows = logits.double().softmax(dim=-1).tolist()

    def written_out(probabilities: list[float]) -> float:
        return -sum(p * math.log(p) for p in probabilities)

    mean = [sum(column) / 50 for column in zip(*rows, strict=True)]
    expected = (written_out(mean) - sum(map(written_out, rows)) / 50) / math.log(7)
    assert scores.information() == {"cars": pytest.approx(expected, abs=1e-6)}
    assert scores.accuracy() == {}


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        (1e4 * torch.eye(4), 1.0),  # certain, and all classes equally often
        (1e4 * torch.eye(4)[[0, 0, 0]], 0.0),  # collapsed
        (torch.zeros(5, 4), 0.0),  # nothing is known
        (1e4 * torch.eye(4)[[0, 1, 0, 1]], 0.5),
    ],
)
def test_information_at_its_ends(logits: Tensor, expected: float) -> None:
    information = Information(4)
    information.update(logits)
    assert information.compute().item() == pytest.approx(expected, abs=1e-6)


def test_one_class_says_nothing() -> None:
    information = Information(1)
    information.update(torch.zeros(3, 1))
    assert information.compute().item() == 0.0


def test_confusion_counts_true_classes_in_rows_and_needs_labels() -> None:
    scores = TaskScores({"a": 3, "b": 2})
    predicted, labels = torch.tensor([0, 1, 2, 2, 1]), torch.tensor([0, 2, 2, UNLABELLED, 1])
    scores.update("a", F.one_hot(predicted, 3).float(), labels)
    scores.update("b", torch.eye(2), torch.full((2,), UNLABELLED))
    assert scores.confusion().keys() == {"a"}
    assert scores.confusion()["a"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [([0, 1, 2, 3], 1.0), ([2, 2, 2], 0.25), ([0, 1], 0.5), ([0, 0, 0, 1], 0.4387)],
)
def test_diversity_is_the_share_of_classes_that_answers_spread_over(
    answers: list[int], expected: float
) -> None:
    scores = TaskScores({"a": 4})
    for answer in answers:  # in several batches, without labels
        scores.update("a", F.one_hot(torch.tensor([answer]), 4).float(), torch.tensor([UNLABELLED]))
    assert scores.diversity()["a"] == pytest.approx(expected, abs=1e-4)

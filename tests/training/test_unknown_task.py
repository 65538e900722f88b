"""How often the inferred task is right, and the class too: against loops over images."""

import pytest
import torch
from helpers.answers import TASKS, N, random_logits, random_routing

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.model.task_inference import infer_task
from wemoe_pl.training.metrics import TaskScores
from wemoe_pl.training.unknown_task import CONFIDENCE_BINS, REJECTED, UnknownTaskScores


def test_right_is_the_right_class_of_the_right_task() -> None:
    logits, routing = random_logits(), random_routing()
    labels = torch.arange(N) % 3
    labels[::7] = UNLABELLED
    scores = UnknownTaskScores(TASKS, TASKS, ["entropy", "routing"])
    for part in (slice(0, 25), slice(25, N)):
        scores.update(
            "cars",
            {task: values[part] for task, values in logits.items()},
            labels[part],
            [block[part] for block in routing],
        )
    answers = scores.compute()
    assert list(answers) == ["entropy", "routing"]
    for rule in ("entropy", "routing"):
        inferred = infer_task(rule, logits, routing, TASKS).place.tolist()
        known = [i for i in range(N) if labels[i] != UNLABELLED]
        right_task = [i for i in known if inferred[i] == 0]
        right = [i for i in right_task if logits["cars"][i].argmax() == labels[i]]
        del answers[rule]["threshold"]
        assert answers[rule] == {
            "accuracy": {"cars": pytest.approx(len(right) / len(known))},
            "mean": pytest.approx(len(right) / len(known)),
            "task_accuracy": {"cars": pytest.approx(len(right_task) / len(known))},
        }


def test_a_share_is_the_same_number_as_an_accuracy_of_as_many() -> None:
    images, right = 400, 303  # 75.75 %, of which single precision makes a bit less
    answers, labels = torch.eye(3)[torch.zeros(images, dtype=torch.long)], torch.ones(images).long()
    labels[:right] = 0
    scores, unknown = TaskScores({"cars": 3}), UnknownTaskScores(["cars"], [], ["entropy"])
    scores.update("cars", answers, labels)
    unknown.update("cars", {"cars": answers}, labels, [])
    assert unknown.compute()["entropy"]["accuracy"] == scores.accuracy() == {"cars": 0.7575}


def test_entropies_that_are_not_worth_a_comparison_are_not_compared() -> None:
    scores = UnknownTaskScores(TASKS, TASKS, ["routing"])
    scores.update("cars", random_logits(), torch.zeros(N, dtype=torch.long), random_routing())
    assert list(scores.compute()) == ["routing"]
    assert UnknownTaskScores(TASKS, [], []).compute() == {}


def test_a_model_without_routers_has_one_rule_and_tasks_without_labels_no_score() -> None:
    scores = UnknownTaskScores(TASKS, [], ["entropy"])
    scores.update("cars", random_logits(), torch.full((N,), UNLABELLED), [])
    found = scores.compute()["entropy"]
    assert found.pop("threshold")
    assert found == {"accuracy": {}, "mean": None, "task_accuracy": {}}


def test_the_threshold_leaves_out_the_least_certain_images_of_every_inferred_task() -> None:
    logits, routing = random_logits(), random_routing()
    scores = UnknownTaskScores(TASKS, TASKS, ["entropy", "routing"])
    for part in (slice(0, 10), slice(10, N)):
        batch = {task: values[part] for task, values in logits.items()}
        unlabelled = torch.full((len(batch["cars"]),), UNLABELLED)
        scores.update("cars", batch, unlabelled, [block[part] for block in routing])
    for rule in ("entropy", "routing"):
        inferred = infer_task(rule, logits, routing, TASKS)
        thresholds = scores.compute()[rule]["threshold"]
        for place, task in enumerate(TASKS):
            own = sorted(inferred.confidence[inferred.place == place].tolist())
            least = thresholds.get(task, 0)
            assert sum(value < least for value in own) <= REJECTED * len(own)
            if own:
                assert sum(v < least + 1 / CONFIDENCE_BINS for v in own) > REJECTED * len(own)


def test_images_of_tasks_that_were_not_adapted_on_say_nothing_about_what_is_usual() -> None:
    logits, labels = random_logits(), torch.zeros(N, dtype=torch.long)
    scores = UnknownTaskScores(TASKS, TASKS[1:], ["entropy"])
    scores.update(TASKS[0], logits, labels, [])
    assert scores.compute()["entropy"]["threshold"] == {}
    scores.update(TASKS[1], logits, labels, [])
    assert scores.compute()["entropy"]["threshold"]

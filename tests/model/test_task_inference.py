"""Which task is an image of? Inferred by three rules, against loops over images."""

import math

import pytest
import torch
from helpers.answers import CLASSES, TASKS, N, random_logits, random_routing

from wemoe_pl.model.task_inference import (
    has_entropies,
    infer_task,
    task_by_entropy,
    task_by_routing,
)


def test_entropies_are_compared_as_shares_of_the_largest_possible() -> None:
    logits = random_logits()
    for i, place in enumerate(task_by_entropy(logits).place.tolist()):
        shares = []
        for values in logits.values():
            p = values[i].double().softmax(dim=-1).tolist()
            shares.append(-sum(x * math.log(x) for x in p) / math.log(len(p)))
        assert place == shares.index(min(shares))


def test_the_largest_routing_weight_over_all_blocks_names_the_task() -> None:
    weights = random_routing()
    experts = ["mnist", "cars", "dtd"]  # in another order than the tasks
    for i, place in enumerate(task_by_routing(weights, experts, TASKS).place.tolist()):
        means = [(weights[0][i, e] + weights[1][i, e]).item() for e in range(3)]
        assert TASKS[place] == experts[means.index(max(means))]


def test_unseen_tasks_are_never_inferred_by_routing() -> None:
    weights = [block[:, :2] for block in random_routing()]
    inferred = infer_task("routing", random_logits(), weights, ["dtd", "mnist"])
    assert set(inferred.place.tolist()) == {1, 2}


def test_the_confidence_is_the_share_of_the_winner_in_inverse_squares_of_entropy() -> None:
    logits = random_logits()
    inferred = task_by_entropy(logits)
    for i, confidence in enumerate(inferred.confidence.tolist()):
        weights = []
        for values in logits.values():
            p = values[i].double().softmax(dim=-1).tolist()
            share = -sum(x * math.log(x) for x in p) / math.log(len(p))
            weights.append(share**-2)
        assert confidence == pytest.approx(max(weights) / sum(weights), rel=1e-4)


def test_heads_that_are_all_certain_share_the_confidence() -> None:
    inferred = task_by_entropy({task: 1e4 * torch.eye(n)[:1] for task, n in CLASSES.items()})
    assert inferred.place.tolist() == [0]
    assert inferred.confidence.tolist() == pytest.approx([1 / 3])


def test_a_head_of_one_class_infers_nothing_that_is_not_a_number() -> None:
    inferred = task_by_entropy({"one": torch.zeros(2, 1), "cars": torch.zeros(2, 3)})
    assert inferred.place.tolist() == [0, 0]
    assert inferred.confidence.isfinite().all()


def test_the_confidence_of_routing_is_the_largest_mean_weight() -> None:
    weights = [torch.tensor([[0.2, 0.9], [0.1, 1.5], [-0.4, -0.2]])] * 2
    inferred = task_by_routing(weights, ["dtd", "cars"], TASKS)
    assert inferred.place.tolist() == [0, 0, 0]
    assert inferred.confidence.tolist() == pytest.approx([0.9, 1.0, 0.0])


def test_entropies_are_compared_where_every_head_has_two_classes() -> None:
    assert has_entropies({"a": 2, "b": 10})
    assert not has_entropies({"a": 1, "b": 10})


def test_the_largest_logit_among_the_tasks_that_were_chosen_wins() -> None:
    logits = random_logits()
    experts = [TASKS[2], TASKS[0]]
    generator = torch.Generator().manual_seed(5)
    weights = torch.rand(N, 2, generator=generator)
    weights *= torch.rand(N, 2, generator=generator) > 0.4
    weights[weights.sum(dim=1) == 0] = torch.tensor([0.0, 1.0])
    inferred = infer_task("logit", logits, [weights], experts)
    for i in range(N):
        chosen = [e for e, weight in zip(experts, weights[i].tolist(), strict=True) if weight > 0]
        largest = {task: max(logits[task][i].tolist()) for task in chosen}
        best = max(largest, key=lambda task: largest[task])
        assert TASKS[int(inferred.place[i])] == best
        share = math.exp(largest[best]) / sum(map(math.exp, largest.values()))
        assert inferred.confidence[i].item() == pytest.approx(share, rel=1e-5)

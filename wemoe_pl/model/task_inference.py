"""Infer the task of an image from the heads, the routers, or both, if nobody names it."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from wemoe_pl.model.entropy import entropy

InferenceRule = Literal["entropy", "routing", "logit"]
BEST_RULE: InferenceRule = "entropy"  # right more often, and needs no routers: docs/miniature.md
# The power, among those that were tried, whose confidences came true: docs/use.md
CONFIDENCE_POWER = 2
TINY = torch.finfo(torch.float).tiny


def has_entropies(num_classes: Mapping[str, int]) -> bool:
    """Return whether entropies can be compared: a head of one class is certain of any image."""
    return all(count > 1 for count in num_classes.values())


class InferredTask(NamedTuple):
    """`InferredTask` names the task that each image of a batch seems to be of.

    Attributes:
        place: the number of the task, (B,), counted in the order of the logits.
        confidence: the confidence in the task, from 0 to 1, (B,).
    """

    place: Tensor
    confidence: Tensor


def infer_task(
    rule: InferenceRule,
    logits: Mapping[str, Tensor],
    routing_weights: Sequence[Tensor],
    experts: Sequence[str],
) -> InferredTask:
    """Infer the task of each image by a rule.

    Args:
        rule: the rule: "entropy" looks at logits, "routing" at routing weights, "logit" at both.
        logits: the logits of each task, (B, C).
        routing_weights: the routing weights of each block, (B, T).
        experts: the T experts, in the order of the routing weights.
    """
    if rule == "entropy":
        return task_by_entropy(logits)
    if rule == "logit":
        return task_by_logit(logits, routing_weights, experts)
    return task_by_routing(routing_weights, experts, list(logits))


def task_by_entropy(logits: Mapping[str, Tensor]) -> InferredTask:
    """Infer the task whose head is the most certain of its answer.

    Entropies are compared as shares of their largest value, log C, since heads differ in their
    number of classes. The smaller the winner's is compared with the others', the higher is the
    confidence.

    Args:
        logits: the logits of each task, (B, C).

    >>> inferred = task_by_entropy(
    ...     {"cars": torch.tensor([[9.0, 0, 0]]), "mnist": torch.tensor([[1.0, 0]])}
    ... )
    >>> inferred.place
    tensor([0])
    >>> inferred.confidence > 0.99
    tensor([True])
    """
    entropies = [entropy(values.float().log_softmax(dim=-1)) for values in logits.values()]
    largest = [math.log(max(values.shape[1], 2)) for values in logits.values()]
    shares = torch.stack([e / most for e, most in zip(entropies, largest, strict=True)])
    smallest, place = shares.min(dim=0)
    odds = ((smallest + TINY) / (shares + TINY)) ** CONFIDENCE_POWER
    return InferredTask(place, 1 / odds.sum(dim=0))


def task_by_routing(
    routing_weights: Sequence[Tensor], experts: Sequence[str], tasks: Sequence[str]
) -> InferredTask:
    """Infer the task whose expert has the largest mean routing weight over blocks.

    The confidence is this weight, clamped to 0 to 1.

    Args:
        routing_weights: the routing weights of each block, (B, T).
        experts: the T experts, in the order of the routing weights.
        tasks: the tasks in the order in which the answer counts them.
    """
    largest, column = torch.stack(list(routing_weights)).float().mean(dim=0).max(dim=-1)
    places = torch.tensor([list(tasks).index(expert) for expert in experts], device=column.device)
    return InferredTask(places[column], largest.clamp(0, 1))


def task_by_logit(
    logits: Mapping[str, Tensor], routing_weights: Sequence[Tensor], experts: Sequence[str]
) -> InferredTask:
    """Infer the task whose head gives the largest logit, among those that an image was routed to.

    The confidence is its share of a softmax over these tasks' largest logits.

    Args:
        logits: the logits of each task, (B, C).
        routing_weights: the routing weights of each block, (B, T), 0 for an expert to which an
            image was not routed.
        experts: the T experts, in the order of the routing weights.

    >>> logits = {"cars": torch.tensor([[2.0, 1.0]]), "dtd": torch.tensor([[1.0, 3.0]])}
    >>> task_by_logit(logits, [torch.tensor([[0.6, 0.4]])], ["cars", "dtd"]).place
    tensor([1])
    >>> task_by_logit(logits, [torch.tensor([[1.0, 0.0]])], ["cars", "dtd"]).place
    tensor([0])
    """
    routed = torch.stack(list(routing_weights)).sum(dim=0) > 0
    largest = torch.stack([values.float().amax(dim=1) for values in logits.values()], dim=1)
    chosen = torch.zeros_like(largest, dtype=torch.bool)
    places = [list(logits).index(expert) for expert in experts]
    chosen[:, places] = routed
    shares = largest.masked_fill(~chosen, -math.inf).softmax(dim=1)
    confidence, place = shares.max(dim=1)
    return InferredTask(place, confidence)

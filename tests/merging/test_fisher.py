"""Fisher merging against one gradient per image, by the usual autograd, in float64."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wemoe_pl.checkpoints.heads import CosineHead
from wemoe_pl.merging.fisher import Fisher

Experts = dict[str, nn.Module]
Batches = dict[str, tuple[Tensor, Tensor]]


@pytest.fixture
def models(pretrained: nn.Module, experts: Experts) -> tuple[nn.Module, Experts]:
    doubled = {task: deepcopy(expert).double() for task, expert in experts.items()}
    return deepcopy(pretrained).double(), doubled


@pytest.fixture
def head() -> CosineHead:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(5, 16, generator=generator, dtype=torch.float64)
    return CosineHead(vectors, list("abcde"), 10.0)


@pytest.fixture
def batches(experts: Experts) -> Batches:
    generator = torch.Generator().manual_seed(1)
    return {
        task: (
            torch.randn(4, 3, 32, 32, generator=generator, dtype=torch.float64),
            torch.randint(5, (4,), generator=generator),
        )
        for task in experts
    }


def merged(
    models: tuple[nn.Module, Experts], head: CosineHead, batches: Batches
) -> dict[str, Tensor]:
    pretrained, experts = models
    method = Fisher()
    sums = method.start(pretrained, experts)
    for task, (images, labels) in batches.items():
        for part in (slice(0, 1), slice(1, 4)):  # any batches give the same sums
            sums.add(task, experts[task], head, images[part], labels[part])
    averages = method.merge(pretrained, experts).state_dict()
    return sums.solve(averages)


def test_weights_are_means_weighted_with_squared_gradients(
    models: tuple[nn.Module, Experts], head: CosineHead, batches: Batches
) -> None:
    _, experts = models
    solved = merged(models, head, batches)
    total = {name: torch.zeros_like(weight) for name, weight in solved.items()}
    weighted = {name: torch.zeros_like(weight) for name, weight in solved.items()}
    for task, (images, labels) in batches.items():
        expert = deepcopy(experts[task])
        for image, label in zip(images, labels, strict=True):
            expert.zero_grad()
            F.nll_loss(head(expert(image[None])).log_softmax(-1), label[None]).backward()
            for name, weight in expert.named_parameters():
                assert weight.grad is not None
                total[name] += weight.grad**2
                weighted[name] += weight.grad**2 * weight.detach()
    for name, merged_weight in solved.items():
        known = total[name] > 0
        expected = (weighted[name] / total[name])[known]
        torch.testing.assert_close(merged_weight[known], expected, rtol=1e-9, atol=1e-12)


def test_where_no_sample_tells_anything_the_simple_mean_stays(
    models: tuple[nn.Module, Experts], head: CosineHead
) -> None:
    pretrained, experts = models
    averages = Fisher().merge(pretrained, experts).state_dict()
    torch.testing.assert_close(Fisher().start(pretrained, {}).solve(averages), dict(averages))


def test_one_expert_is_returned_and_the_order_does_not_matter(
    models: tuple[nn.Module, Experts], head: CosineHead, batches: Batches
) -> None:
    pretrained, experts = models
    alone = merged((pretrained, {"cars": experts["cars"]}), head, {"cars": batches["cars"]})
    torch.testing.assert_close(alone, dict(experts["cars"].named_parameters()))
    there = merged(models, head, batches)
    back = merged(models, head, dict(reversed(batches.items())))
    torch.testing.assert_close(there, back, rtol=1e-9, atol=1e-12)


def test_experts_keep_their_weights_and_get_no_gradients(
    models: tuple[nn.Module, Experts], head: CosineHead, batches: Batches
) -> None:
    before = deepcopy(models[1]["cars"].state_dict())
    merged(models, head, batches)
    torch.testing.assert_close(models[1]["cars"].state_dict(), before, rtol=0, atol=0)
    assert all(weight.grad is None for weight in models[1]["cars"].parameters())

"""The two ends of every table: the pretrained encoder, and each expert on its own task."""

import torch
from torch import nn

from wemoe_pl.merging import Individual, Pretrained

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_pretrained_ignores_the_experts(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    assert torch.equal(Pretrained().merge(pretrained, experts)(IMAGES), pretrained(IMAGES))
    assert torch.equal(Pretrained().merge(pretrained, {})(IMAGES), pretrained(IMAGES))


def test_individual_answers_each_task_with_its_own_expert(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    encoder = Individual().merge(pretrained, experts)
    for task, expert in experts.items():
        assert torch.equal(encoder(IMAGES, task), expert(IMAGES))

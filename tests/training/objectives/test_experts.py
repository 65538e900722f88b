"""The logits of experts are those of each alone, in the place of one encoder."""

from dataclasses import replace

import pytest
import torch

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.training.objectives import ExpertLogits


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_task_is_answered_by_its_own_expert(tiny_suite: Suite, dtype: torch.dtype) -> None:
    answer = ExpertLogits(tiny_suite, torch.empty(0, dtype=dtype))
    images = {task: torch.randn(2, 3, 28, 28, dtype=dtype) for task in ("mnist", "cars")}
    found = answer(images)
    for task, batch in images.items():
        encoder = tiny_suite.load_pretrained()
        encoder.load_state_dict(dict(tiny_suite.load_experts()[task]))
        expected = tiny_suite.load_head(task).to(dtype)(encoder.to(dtype)(batch))
        torch.testing.assert_close(found[task], expected.detach())
        assert not found[task].requires_grad


def test_experts_take_the_memory_of_one_encoder(tiny_suite: Suite) -> None:
    encoder = ExpertLogits(tiny_suite, torch.empty(0)).classifier.encoder
    size = sum(p.numel() for p in tiny_suite.load_pretrained().parameters())
    assert sum(p.numel() for p in encoder.parameters()) == size


def test_a_task_without_an_expert_is_named(tiny_suite: Suite) -> None:
    suite = replace(tiny_suite, experts={"cars": tiny_suite.experts["cars"]})
    answer = ExpertLogits(suite, torch.empty(0))
    with pytest.raises(ConfigError, match="expert for 'dtd', and the suite has none"):
        answer({"cars": torch.zeros(1, 3, 28, 28), "dtd": torch.zeros(1, 3, 28, 28)})

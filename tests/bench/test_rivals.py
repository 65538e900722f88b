"""What the mixture is compared with computes the same."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from timm.layers.mlp import Mlp
from torch import nn

from wemoe_pl.bench.rivals import fusion_bench_layers, loop_over_samples
from wemoe_pl.moe import WeightEnsemblingMoE


def test_the_loop_over_samples_gives_the_same_outputs_and_gradients() -> None:
    moe = WeightEnsemblingMoE(Mlp(8, 32), [Mlp(8, 32) for _ in range(3)]).double()
    x = torch.randn(4, 5, 8).double()
    expected, actual = moe(x), loop_over_samples(moe)(x)
    torch.testing.assert_close(actual, expected)
    routers = [*moe.router.parameters()]
    gradients = torch.autograd.grad(expected.sum(), routers)
    torch.testing.assert_close(torch.autograd.grad(actual.sum(), routers), gradients)


def test_without_fusion_bench_there_is_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wemoe_pl.bench.rivals.find_spec", lambda name: None)
    assert fusion_bench_layers(Mlp(8, 32), [], 8, 2) == {}


class Stand(nn.Module):
    """Takes what their module takes."""

    options: dict[str, Any]

    def __init__(self, **options: Any):
        super().__init__()
        self.options = options


def test_fusion_bench_is_used_per_sample_and_per_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("fusion_bench.models.we_moe")
    module.WeightEnsemblingMoE = Stand  # type: ignore[attr-defined]
    for name in ("fusion_bench", "fusion_bench.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("wemoe_pl.bench.rivals.find_spec", lambda name: True)
    pretrained = Mlp(8, 32).requires_grad_(False)
    made = fusion_bench_layers(pretrained, [Mlp(8, 32)], 8, 1)
    options = [each.options for each in made.values() if isinstance(each, Stand)]
    assert [each["batch_reduce"] for each in options] == [False, True]
    assert all(each["router_hidden_layers"] == 1 and each["batch_first"] for each in options)
    assert all(w.requires_grad for each in options for w in each["base_model"].parameters())
    assert not any(w.requires_grad for w in pretrained.parameters())

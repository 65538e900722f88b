"""The rivals of the mixture compute the same."""

import sys
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from timm.layers.mlp import Mlp
from torch import nn

from wemoe_pl.bench.rivals import Layer, all_at_once, fusion_bench_layers, loop_over_samples
from wemoe_pl.errors import ConfigError
from wemoe_pl.moe.layers import WeightEnsemblingMoE


@pytest.fixture(autouse=True)
def modules_as_before() -> Iterator[None]:
    """A stand-in for fusion-bench that a test imports is not found by the next."""
    before = dict(sys.modules)
    yield
    for name in {*sys.modules} - {*before}:
        if name.partition(".")[0] == "fusion_bench":
            del sys.modules[name]


@pytest.mark.parametrize("rival", [loop_over_samples, all_at_once])
def test_the_rivals_give_the_same_outputs_and_gradients(
    rival: Callable[[WeightEnsemblingMoE], Layer],
) -> None:
    moe = WeightEnsemblingMoE(Mlp(8, 32), [Mlp(8, 32) for _ in range(3)]).double()
    x = torch.randn(4, 5, 8).double()
    expected, actual = moe(x), rival(moe)(x)
    torch.testing.assert_close(actual, expected)
    routers = [*moe.router.parameters()]
    gradients = torch.autograd.grad(expected.sum(), routers)
    torch.testing.assert_close(torch.autograd.grad(actual.sum(), routers), gradients)


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As if a package were not installed."""
    for name in [*sys.modules]:
        if name.partition(".")[0] == package:
            monkeypatch.delitem(sys.modules, name)
    finders = [Hiding(package), *sys.meta_path]
    monkeypatch.setattr(sys, "meta_path", finders)


class Hiding(MetaPathFinder):
    """Says that a package is not installed."""

    def __init__(self, package: str):
        self.package = package

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Raise `ModuleNotFoundError` if it is the package."""
        if fullname.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def test_without_fusion_bench_there_is_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "fusion_bench")
    assert fusion_bench_layers(Mlp(8, 32), [], 8, 2) == {}


def test_fusion_bench_without_what_it_needs_is_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "fusion_bench" / "models").mkdir(parents=True)
    (tmp_path / "fusion_bench" / "models" / "we_moe.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="installed, but not no_such_package, which it needs"):
        fusion_bench_layers(Mlp(8, 32), [], 8, 2)


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
    pretrained = Mlp(8, 32).requires_grad_(False)
    made = fusion_bench_layers(pretrained, [Mlp(8, 32)], 8, 1)
    options = [each.options for each in made.values() if isinstance(each, Stand)]
    assert [each["batch_reduce"] for each in options] == [False, True]
    assert all(each["router_hidden_layers"] == 1 and each["batch_first"] for each in options)
    assert all(w.requires_grad for each in options for w in each["base_model"].parameters())
    assert not any(w.requires_grad for w in pretrained.parameters())

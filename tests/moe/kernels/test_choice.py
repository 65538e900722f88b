"""The costs of kernels, against the counts that they stand for, and kernels that are timed."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers.merged_reference import D, N, T, dictionary, inputs, small_mlp
from timm.layers.mlp import Mlp
from torch import Tensor

from wemoe_pl.moe.kernels import choice
from wemoe_pl.moe.kernels.choice import (
    REPEATS,
    Load,
    activation_space_cost,
    choose_kernel,
    fastest_kernel,
    weight_space_cost,
)
from wemoe_pl.moe.kernels.fused import fused_mlp
from wemoe_pl.moe.kernels.tiled import tiled_mlp
from wemoe_pl.moe.kernels.two_layers import Kernel, TwoLayers, two_layers
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned


class Runner:
    """A kernel that takes its time."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.runs = 0

    def __call__(self, mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Tensor:
        self.runs += 1
        clock[0] += self.seconds
        return tiled_mlp(mlp, routing_weights, x)


clock = [0.0]


@pytest.fixture(autouse=True)
def no_kernel_timed_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    torch.use_deterministic_algorithms(False)  # a trainer of another test may have switched it on
    monkeypatch.setattr(choice, "fastest_kernels", {})
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def layers() -> TwoLayers:
    mlp = small_mlp()
    found = two_layers(mlp, dictionary(mlp))
    assert found is not None
    return found


def test_the_fastest_is_taken_and_is_remembered(layers: TwoLayers) -> None:
    slow, quick = Runner(0.05), Runner(0.0)
    kernels: list[Kernel] = [slow, quick]
    for samples in (5, 6, 8):  # batches of one kind
        assert fastest_kernel(kernels, layers, *inputs(samples, N, D)) is quick
    assert slow.runs == quick.runs == 2 * REPEATS


def test_another_load_is_timed_anew(layers: TwoLayers) -> None:
    runner = Runner(0.0)
    fastest_kernel([runner], layers, *inputs(8, N, D))
    fastest_kernel([runner], layers, *inputs(9, N, D))
    fastest_kernel([runner], layers, *inputs(8, N + 1, D))
    with torch.no_grad():
        fastest_kernel([runner], layers, *inputs(8, N, D))
    assert runner.runs == 8 * REPEATS


def test_timing_leaves_no_gradients(layers: TwoLayers) -> None:
    r, x = inputs(2, N, D)
    fastest_kernel([tiled_mlp], layers, r, x)
    assert (r.grad, x.grad) == (None, None)


def test_nothing_is_timed_where_every_run_must_be_the_same(layers: TwoLayers) -> None:
    torch.use_deterministic_algorithms(True)
    first, second = Runner(0.05), Runner(0.0)
    assert fastest_kernel([first, second], layers, *inputs(2, N, D)) is first
    assert (first.runs, second.runs) == (0, 0)


class OnGpu(Tensor):
    """What says that it lies on a GPU."""

    is_cuda = True


def test_on_a_gpu_the_fused_kernel_takes_part(
    layers: TwoLayers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Kernel]] = []

    def choose(kernels: list[Kernel], *_: object) -> Kernel:
        asked.append(kernels)
        return kernels[1]

    monkeypatch.setattr(choice, "fastest_kernel", choose)
    r, x = inputs(16, 50, D)
    assert choose_kernel(layers, r, x) is tiled_mlp
    assert choose_kernel(layers, r, x.detach().as_subclass(OnGpu)) is fused_mlp
    assert asked == [[tiled_mlp, fused_mlp]]


K, H = 8, 32
P = 2 * K * H


def mlp(**options: Any) -> TwoLayers:
    mlp = Mlp(K, H).double()
    found = two_layers(mlp, dictionary(mlp, **options))
    assert found is not None
    return found


@pytest.fixture
def ideal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which every multiply-add costs the same, and reading nothing."""
    for name, value in {"BATCHED": 1.0, "MERGING": 1.0, "READING": 0.0}.items():
        monkeypatch.setattr(choice, name, value)


@pytest.mark.usefixtures("ideal")
@pytest.mark.parametrize(("samples", "tokens"), [(1, 1), (16, 50), (3, 7)])
def test_dense_costs_are_the_counts_of_multiply_adds(samples: int, tokens: int) -> None:
    forward, both = Load(samples, tokens, learning=False), Load(samples, tokens, learning=True)
    merge, use = samples * T * P, samples * tokens * P
    assert weight_space_cost(mlp(), forward) == merge + use
    assert weight_space_cost(mlp(), both) == 3 * merge + 3 * use
    assert activation_space_cost(mlp(), forward) == (T + 1) * use
    assert activation_space_cost(mlp(), both) == 2 * (T + 1) * use


@pytest.mark.usefixtures("ideal")
def test_low_rank_is_applied_by_its_factors() -> None:
    load = Load(samples=2, tokens=3, learning=False)
    factors = 2 * T * 2 * (K + H)
    assert activation_space_cost(mlp(compression=LowRank(rank=2)), load) == 6 * (P + factors)


def test_sparse_vectors_are_never_applied_one_by_one() -> None:
    assert activation_space_cost(mlp(compression=Pruned()), Load(1, 1, False)) == float("inf")

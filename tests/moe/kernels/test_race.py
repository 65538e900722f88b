"""Ways that are tried out once."""

from collections.abc import Iterator

import pytest
import torch
from helpers.merged_reference import D, N, dictionary, inputs, small_mlp
from torch import Tensor

from wemoe_pl.moe.kernels import merged, race
from wemoe_pl.moe.kernels.fused import fused_mlp
from wemoe_pl.moe.kernels.race import REPEATS, quickest
from wemoe_pl.moe.kernels.tiled import tiled_mlp
from wemoe_pl.moe.kernels.two_layers import TwoLayers, Way, two_layers


class Runner:
    """A way that takes its time."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.runs = 0

    def __call__(self, mlp: TwoLayers, routing_weights: Tensor, x: Tensor) -> Tensor:
        self.runs += 1
        clock[0] += self.seconds
        return tiled_mlp(mlp, routing_weights, x)


clock = [0.0]


@pytest.fixture(autouse=True)
def no_winners_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    torch.use_deterministic_algorithms(False)  # a trainer of another test may have switched it on
    monkeypatch.setattr(race, "winners", {})
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def layers() -> TwoLayers:
    mlp = small_mlp()
    found = two_layers(mlp, dictionary(mlp))
    assert found is not None
    return found


def test_the_quickest_wins_and_is_remembered(layers: TwoLayers) -> None:
    slow, quick = Runner(0.05), Runner(0.0)
    ways: list[Way] = [slow, quick]
    for samples in (5, 6, 8):  # batches of one kind
        assert quickest(ways, layers, *inputs(samples, N, D)) is quick
    assert slow.runs == quick.runs == 2 * REPEATS


def test_another_load_is_another_race(layers: TwoLayers) -> None:
    runner = Runner(0.0)
    quickest([runner], layers, *inputs(8, N, D))
    quickest([runner], layers, *inputs(9, N, D))
    quickest([runner], layers, *inputs(8, N + 1, D))
    with torch.no_grad():
        quickest([runner], layers, *inputs(8, N, D))
    assert runner.runs == 8 * REPEATS


def test_a_race_leaves_no_gradients(layers: TwoLayers) -> None:
    r, x = inputs(2, N, D)
    quickest([tiled_mlp], layers, r, x)
    assert (r.grad, x.grad) == (None, None)


def test_there_is_no_race_where_every_run_must_be_the_same(layers: TwoLayers) -> None:
    torch.use_deterministic_algorithms(True)
    first, second = Runner(0.05), Runner(0.0)
    assert quickest([first, second], layers, *inputs(2, N, D)) is first
    assert (first.runs, second.runs) == (0, 0)


class OnGpu(Tensor):
    """What says that it lies on a GPU."""

    is_cuda = True


def test_on_a_gpu_the_fused_way_takes_part(
    layers: TwoLayers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Way]] = []

    def choose(ways: list[Way], *_: object) -> Way:
        asked.append(ways)
        return ways[1]

    monkeypatch.setattr(merged, "quickest", choose)
    r, x = inputs(16, 50, D)
    assert merged.fastest(layers, r, x) is tiled_mlp
    assert merged.fastest(layers, r, x.detach().as_subclass(OnGpu)) is fused_mlp
    assert asked == [[tiled_mlp, fused_mlp]]

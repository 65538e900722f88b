"""A lazy state is a mapping that reads a tensor when it is asked for, and at no other time."""

import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, shapes_of
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE

SHAPES = {"weight": torch.Size([3, 2]), "bias": torch.Size([3])}


@pytest.fixture
def read() -> list[str]:
    """The keys that have been read."""
    return []


@pytest.fixture
def state(read: list[str]) -> LazyState:
    def make(key: str) -> Tensor:
        read.append(key)
        return torch.full(SHAPES[key], float(len(read)))

    return LazyState(SHAPES, make)


def test_nothing_is_read_to_know_what_is_there(state: LazyState, read: list[str]) -> None:
    assert list(state) == list(state.keys()) == ["weight", "bias"]
    assert len(state) == 2
    assert "weight" in state
    assert "head" not in state
    assert shapes_of(state) == SHAPES
    assert read == []


def test_a_tensor_is_read_each_time_it_is_asked_for(state: LazyState, read: list[str]) -> None:
    assert state["bias"].tolist() == [1, 1, 1]
    assert state["bias"].tolist() == [2, 2, 2]
    assert read == ["bias", "bias"]


def test_a_dictionary_of_it_reads_every_tensor_once(state: LazyState, read: list[str]) -> None:
    assert {key: tensor.shape for key, tensor in dict(state).items()} == SHAPES
    assert read == ["weight", "bias"]


def test_a_key_that_is_not_there_is_not_read(state: LazyState, read: list[str]) -> None:
    with pytest.raises(KeyError, match="head"):
        state["head"]
    assert state.get("head") is None
    assert read == []


def test_the_shapes_of_a_plain_state_are_those_of_its_tensors() -> None:
    tensors = {key: torch.zeros(shape) for key, shape in SHAPES.items()}
    assert shapes_of(tensors) == SHAPES


def test_a_lazy_state_keeps_shapes_of_its_own() -> None:
    shapes = dict(SHAPES)
    state = LazyState(shapes, lambda key: torch.zeros(shapes[key]))
    del shapes["bias"]
    assert list(state) == ["weight", "bias"]


# --- memory ----------------------------------------------------------------------------------


class Memory:
    """How many tensors that were read are alive, and how many were at once."""

    def __init__(self) -> None:
        self.reads = self.alive = self.most = 0

    def read(self, weight: Tensor) -> Tensor:
        """A copy in memory of its own, of which the end is noticed, also that of views on it."""
        array = weight.detach().numpy().copy()
        weakref.finalize(array, self.forget)
        self.reads += 1
        self.alive += 1
        self.most = max(self.most, self.alive)
        return torch.from_numpy(array)

    def forget(self) -> None:
        self.alive -= 1

    def lazy(self, model: nn.Module) -> LazyState:
        state = model.state_dict()
        return LazyState(shapes_of(state), lambda key: self.read(state[key]))


@pytest.mark.parametrize("method", [TaskArithmetic(), WEMoE()], ids=["arithmetic", "wemoe"])
def test_merging_eight_lazy_experts_holds_one_tensor_of_one_of_them_at_a_time(
    method: MergeMethod, pretrained: nn.Module, tiny_vit: Callable[..., nn.Module]
) -> None:
    memory = Memory()
    models = {f"task{seed}": tiny_vit(seed) for seed in range(1, 9)}
    lazy = {name: memory.lazy(model) for name, model in models.items()}
    with torch.random.fork_rng():
        torch.manual_seed(0)  # routers start at random
        merged = method.merge(pretrained, lazy).state_dict()
        torch.manual_seed(0)
        expected = method.merge(pretrained, models).state_dict()
    assert memory.reads >= 8 * len(lazy["task1"])
    assert (memory.most, memory.alive) == (1, 0)
    torch.testing.assert_close(merged, expected, rtol=0, atol=0)


def test_tensors_that_are_kept_are_noticed(pretrained: nn.Module) -> None:
    memory = Memory()
    kept = [tensor.flatten() for tensor in memory.lazy(pretrained).values()]
    assert memory.most == memory.alive == len(kept) > 1
    del kept[:]
    assert memory.alive == 0

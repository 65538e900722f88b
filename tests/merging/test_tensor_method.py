"""What holds for every method that merges one tensor at a time."""

import weakref
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, shapes_of
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.cart import CART
from wemoe_pl.merging.dare import DARE
from wemoe_pl.merging.iso import IsoC, IsoCTS
from wemoe_pl.merging.model_stock import ModelStock
from wemoe_pl.merging.tall import Consensus
from wemoe_pl.merging.tensor_method import TensorMethod, tensor_of_all
from wemoe_pl.merging.tsv import TSVM
from wemoe_pl.merging.wudi import WUDI

Experts = dict[str, nn.Module]
SCALED = [TSVM, IsoC, IsoCTS, CART, WUDI, Consensus, DARE]
METHODS: list[TensorMethod] = [*(kind() for kind in SCALED), ModelStock()]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.label)


@every_method
def test_experts_are_read_one_tensor_at_a_time(
    method: TensorMethod, doubled: tuple[nn.Module, Experts]
) -> None:
    reads: list[str] = []

    def lazy(expert: nn.Module) -> LazyState:
        state = expert.state_dict()

        def read(key: str) -> Tensor:
            reads.append(key)
            return state[key]

        return LazyState(shapes_of(state), read)

    merged = method.merge(doubled[0], {task: lazy(expert) for task, expert in doubled[1].items()})
    keys = list(doubled[0].state_dict())
    assert reads == [key for key in keys for _ in range(3)]
    expected = method.merge(*doubled).state_dict()
    torch.testing.assert_close(merged.state_dict(), expected, rtol=0, atol=0)


def test_a_tensor_of_each_expert_is_held_once() -> None:
    held: list[weakref.ref[Tensor]] = []
    most = 0

    def read(key: str) -> Tensor:
        nonlocal most
        most = max(most, sum(each() is not None for each in held))
        held.append(weakref.ref(tensor := torch.full((3,), float(len(held)))))
        return tensor

    vectors = [LazyState({"w": torch.Size([3])}, read) for _ in range(5)]
    assert tensor_of_all(vectors, "w").tolist() == [[float(place)] * 3 for place in range(5)]
    assert most <= 2  # the first one, and the one that was read before


def test_experts_of_different_precisions_are_merged_in_the_finest() -> None:
    values = [torch.tensor([1.0]).half(), torch.tensor([0.1]).double(), torch.tensor([0.1])]
    together = tensor_of_all([{"w": value} for value in values], "w")
    assert torch.equal(together, torch.stack(values))
    assert together.dtype == torch.float64


@every_method
def test_what_it_is_given_stays_as_it_is(
    method: TensorMethod, doubled: tuple[nn.Module, Experts]
) -> None:
    before = deepcopy(doubled)
    merged = method.merge(*doubled)
    assert not any(weight.requires_grad for weight in merged.parameters())
    for weight in merged.parameters():
        weight.data.zero_()
    for model, original in zip((doubled[0], *doubled[1].values()),
                               (before[0], *before[1].values()), strict=True):  # fmt: skip
        torch.testing.assert_close(model.state_dict(), original.state_dict(), rtol=0, atol=0)


@every_method
def test_no_expert_is_refused(method: TensorMethod, doubled: tuple[nn.Module, Experts]) -> None:
    with pytest.raises(MergeError, match="no expert to merge"):
        method.merge(doubled[0], {})


@pytest.mark.parametrize("kind", SCALED)
@pytest.mark.parametrize("alpha", [-0.5, float("nan"), float("inf")])
def test_an_alpha_out_of_range_is_refused(alpha: float, kind: type[TensorMethod]) -> None:
    with pytest.raises(MergeError, match=rf"alpha is {alpha}: choose a scaling coefficient"):
        kind(alpha=alpha)  # type: ignore[call-arg]

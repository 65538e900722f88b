"""The two ends of every table: the pretrained encoder, and each expert on its own task."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, shapes_of
from wemoe_pl.errors import CheckpointError
from wemoe_pl.merging.baselines import Individual, PerTaskEncoder, Pretrained

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


# --- one encoder that becomes each expert ----------------------------------------------------


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A note for every time that weights are put in place."""
    notes: list[str] = []
    original = nn.Module.load_state_dict

    def noted(self: nn.Module, state: Mapping[str, Tensor], *args: Any, **options: Any) -> object:
        notes.append(type(self).__name__)
        return original(self, state, *args, **options)

    monkeypatch.setattr(nn.Module, "load_state_dict", noted)
    return notes


def answers(encoder: nn.Module, tasks: Iterable[str]) -> list[Tensor]:
    return [encoder(IMAGES, task) for task in tasks]


def test_it_takes_the_memory_of_one_encoder(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    encoder = Individual().merge(pretrained, experts)
    assert isinstance(encoder, PerTaskEncoder)
    answers(encoder, experts)
    assert len(list(encoder.parameters())) == len(list(pretrained.parameters()))
    shared = {weight.data_ptr() for weight in encoder.parameters()}
    assert not shared & {weight.data_ptr() for weight in pretrained.parameters()}


def test_tasks_may_come_in_any_order_and_again(
    pretrained: nn.Module, experts: dict[str, nn.Module], placed: list[str]
) -> None:
    encoder = Individual().merge(pretrained, experts)
    tasks = ["mnist", "cars", "cars", "dtd", "mnist", "mnist", "mnist"]
    for task, answer in zip(tasks, answers(encoder, tasks), strict=True):
        assert torch.equal(answer, experts[task](IMAGES))
    assert len(placed) == 4  # as often as the task changes


def test_a_copy_becomes_its_own_experts(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    encoder = Individual().merge(pretrained, experts)
    encoder(IMAGES, "cars")
    copy = deepcopy(encoder)
    copy(IMAGES, "dtd")
    assert torch.equal(encoder(IMAGES, "cars"), experts["cars"](IMAGES))
    assert torch.equal(copy(IMAGES, "dtd"), experts["dtd"](IMAGES))


def test_no_expert_is_changed_by_answering(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    before = deepcopy(list(experts.values()))
    encoder = Individual().merge(pretrained, experts)
    answers(encoder, experts)
    for weight in encoder.parameters():
        weight.data.zero_()
    for expert, original in zip(experts.values(), before, strict=True):
        torch.testing.assert_close(expert.state_dict(), original.state_dict(), rtol=0, atol=0)


def test_lazy_weights_are_read_when_the_task_changes(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    reads: list[tuple[str, str]] = []

    def lazy(task: str) -> LazyState:
        state = experts[task].state_dict()

        def read(key: str) -> Tensor:
            reads.append((task, key))
            return state[key]

        return LazyState(shapes_of(state), read)

    encoder = Individual().merge(pretrained, {task: lazy(task) for task in experts})
    assert reads == []
    keys = list(pretrained.state_dict())
    for task in ("dtd", "dtd", "cars", "dtd"):
        assert torch.equal(encoder(IMAGES, task), experts[task](IMAGES))
    assert reads == [(task, key) for task in ("dtd", "cars", "dtd") for key in keys]


def test_weights_that_cannot_be_read_leave_those_of_the_task_before(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    def fail(key: str) -> Tensor:
        raise CheckpointError(f"{key} is damaged")

    damaged = LazyState(shapes_of(experts["dtd"].state_dict()), fail)
    encoder = Individual().merge(pretrained, {"cars": experts["cars"], "dtd": damaged})
    encoder(IMAGES, "cars")
    with pytest.raises(CheckpointError, match="is damaged"):
        encoder(IMAGES, "dtd")
    assert torch.equal(encoder(IMAGES, "cars"), experts["cars"](IMAGES))


def test_the_encoder_that_it_is_given_is_taken_over(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    own = deepcopy(pretrained)
    assert PerTaskEncoder(own, experts).encoder is own

"""Task vectors: subtract, scale, sum; and say which key of which expert does not fit."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState
from wemoe_pl.errors import CheckpointError, MergeError
from wemoe_pl.moe.task_vectors import (
    add_task_vectors,
    check_compatible,
    lazy_task_vector,
    state_of,
    task_vector,
)

State = dict[str, Tensor]


def random_state(seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(3, 2, generator=generator, dtype=torch.float64),
        "bias": torch.randn(3, generator=generator, dtype=torch.float64),
        "steps": torch.tensor(seed),
    }


def test_a_task_vector_is_the_difference() -> None:
    base, expert = random_state(0), random_state(1)
    vector = task_vector(base, expert)
    torch.testing.assert_close(base["weight"] + vector["weight"], expert["weight"])
    torch.testing.assert_close(base["bias"] + vector["bias"], expert["bias"])


def test_integers_take_no_part_in_arithmetic() -> None:
    base, expert = random_state(0), random_state(7)
    vector = task_vector(base, expert)
    assert list(vector) == ["weight", "bias"]
    assert add_task_vectors(base, [vector], scaling=1.0)["steps"] == 0


@pytest.mark.parametrize("scaling", [0.0, 0.3, 1.0])
def test_the_sum_matches_one_written_out_entry_by_entry(scaling: float) -> None:
    base, experts = random_state(0), [random_state(seed) for seed in (1, 2, 3)]
    merged = add_task_vectors(base, (task_vector(base, e) for e in experts), scaling)
    for row in range(3):
        for column in range(2):
            w0 = base["weight"][row, column].item()
            deltas = [e["weight"][row, column].item() - w0 for e in experts]
            expected = w0 + scaling * sum(deltas)
            assert merged["weight"][row, column].item() == pytest.approx(expected, rel=1e-12)


def test_the_sum_shares_no_memory_with_its_arguments() -> None:
    base, vector = random_state(0), task_vector(random_state(0), random_state(1))
    for tensor in add_task_vectors(base, [vector], scaling=0.3).values():
        tensor.zero_()
    torch.testing.assert_close(base, random_state(0))
    torch.testing.assert_close(vector, task_vector(random_state(0), random_state(1)))


def test_equal_keys_and_shapes_are_compatible_in_any_order() -> None:
    check_compatible(random_state(0), dict(reversed(random_state(1).items())), "the expert")


def test_a_mismatch_names_the_expert_the_first_key_and_both_shapes() -> None:
    expert = random_state(1) | {"bias": torch.zeros(5), "weight": torch.zeros(4, 2)}
    with pytest.raises(MergeError, match=r"Expert 'cars' .*'weight' .*\(4, 2\) .*\(3, 2\)"):
        task_vector(random_state(0), expert, "Expert 'cars'")


def test_a_missing_key_is_named() -> None:
    expert = random_state(1)
    del expert["bias"]
    with pytest.raises(MergeError, match=r"Expert 'cars' .*'bias' is missing"):
        task_vector(random_state(0), expert, "Expert 'cars'")


def test_an_extra_key_is_named() -> None:
    expert = random_state(1) | {"head": torch.zeros(1)}
    with pytest.raises(MergeError, match=r"Expert 'cars' .*'head' is not a part of it"):
        task_vector(random_state(0), expert, "Expert 'cars'")


# --- weights that are read when asked for ----------------------------------------------------


def lazy(state: State, read: list[str]) -> LazyState:
    """The same weights; what is read of them is noted."""

    def get(key: str) -> Tensor:
        read.append(key)
        return state[key]

    return LazyState({key: tensor.shape for key, tensor in state.items()}, get)


def test_the_weights_of_a_model_are_its_state_dict_and_of_weights_themselves() -> None:
    linear, state = nn.Linear(2, 3), random_state(0)
    torch.testing.assert_close(state_of(linear), linear.state_dict(), rtol=0, atol=0)
    assert state_of(state) is state


def test_a_lazy_task_vector_is_the_difference_when_asked_for() -> None:
    read: list[str] = []
    base, expert = random_state(0), random_state(1)
    vector = lazy_task_vector(base, lazy(expert, read))
    assert vector.shapes == {"weight": (3, 2), "bias": (3,)}
    assert read == []
    assert torch.equal(vector["bias"], expert["bias"] - base["bias"])
    assert read == ["bias"]
    torch.testing.assert_close(dict(vector), task_vector(base, expert), rtol=0, atol=0)


def test_a_lazy_task_vector_is_of_the_pretrained_tensors_only() -> None:
    base, expert = random_state(0), random_state(1)
    del base["weight"]
    assert list(lazy_task_vector(base, expert)) == ["bias"]


def test_lazy_task_vectors_have_the_same_sum_and_each_tensor_is_read_once() -> None:
    read: list[str] = []
    base, experts = random_state(0), [random_state(seed) for seed in (1, 2)]
    vectors = (lazy_task_vector(base, lazy(expert, read)) for expert in experts)
    merged = add_task_vectors(base, vectors, scaling=0.3)
    expected = add_task_vectors(base, [task_vector(base, e) for e in experts], scaling=0.3)
    torch.testing.assert_close(merged, expected, rtol=0, atol=0)
    assert read == ["weight", "bias"] * 2


def test_compatibility_is_known_without_reading() -> None:
    read: list[str] = []
    check_compatible(random_state(0), lazy(random_state(1), read), "the expert")
    with pytest.raises(MergeError, match="'steps' is missing"):
        check_compatible(
            random_state(0), lazy({"weight": torch.zeros(3, 2), "bias": torch.zeros(3)}, read), "it"
        )
    assert read == []


def test_a_lazy_task_vector_is_where_the_pretrained_weights_are() -> None:
    base = {"weight": torch.empty(3, 2, device="meta")}
    assert lazy_task_vector(base, {"weight": torch.ones(3, 2)})["weight"].is_meta


def test_a_model_with_an_adapter_that_is_not_merged_is_refused() -> None:
    model = get_peft_model(nn.Sequential(nn.Linear(2, 2)), LoraConfig(target_modules=["0"]))
    with pytest.raises(
        CheckpointError, match=r"^This PeftModel is a model of PEFT .*merge_and_unl"
    ):
        state_of(model)

"""Quantised task vectors against rounding in float64, number by number."""

from pathlib import Path

import pytest
import torch
from helpers.stored_vectors import B, T, matrix, stored, weights, written_out
from torch import Tensor

from wemoe_pl.checkpoints import save_tensors
from wemoe_pl.moe.dense import Dense, DenseVectors
from wemoe_pl.moe.quantised import Quantised, QuantisedVectors


def rounded(line: list[float]) -> list[float]:
    """The numbers of a line, rounded to 127 steps of which the last is the largest of them."""
    step = max(abs(value) for value in line) / 127
    return [round(value / step) * step if step else 0.0 for value in line]


@pytest.mark.parametrize("column_major", [False, True], ids=["rows", "columns"])
def test_entries_are_rounded_in_steps_of_the_line_that_lies_in_memory(column_major: bool) -> None:
    weight, tuned = weights((7, 9))
    weight = weight.mT.contiguous().mT if column_major else weight
    tuned[1][:, 3] = 1000 * tuned[1][:, 3]  # a column that its neighbours do not suffer from
    vectors = Quantised().store(weight, tuned.__getitem__, T)
    for vector, expert in zip(written_out(vectors), tuned, strict=True):
        difference = expert - weight
        lines = difference.mT if column_major else difference
        expected = torch.tensor([rounded(line) for line in lines.tolist()]).double()
        expected = expected.mT if column_major else expected
        torch.testing.assert_close(vector, expected, rtol=1e-6, atol=1e-9)


def test_an_entry_is_off_by_half_a_step_at_most_and_the_largest_is_exact() -> None:
    weight, tuned = weights((6, 5, 3))
    for vector, expert in zip(written_out(stored(Quantised(), (6, 5, 3))), tuned, strict=True):
        exact = (expert - weight).flatten(1)
        largest, places = exact.abs().max(dim=1)
        off = (vector.flatten(1) - exact).abs()
        assert (off <= largest[:, None] / 254 * (1 + 1e-9)).all()
        assert (off.gather(1, places[:, None]) <= 1e-12).all()


def test_parameters_of_one_dimension_are_dense() -> None:
    vectors = stored(Quantised(), (12,))
    assert isinstance(vectors, DenseVectors)
    assert written_out(vectors).equal(written_out(stored(Dense(), (12,))))


def test_a_line_that_did_not_change_is_zero_beside_one_that_did() -> None:
    weight = torch.randn(3, 8).double()
    tuned = weight.clone()
    tuned[1] += 1.0
    vectors = Quantised().store(weight, lambda i: tuned, T)
    expected = torch.tensor([0.0, 1.0, 0.0]).double()[:, None].expand(3, 8)
    torch.testing.assert_close(written_out(vectors)[2], expected)


@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(damage: float) -> None:
    weight, tuned = weights((3, 4))
    tuned[0][1, 2] = damage
    line = written_out(Quantised().store(weight, tuned.__getitem__, T))[0, 1]
    assert not line.isfinite().any()


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_small_task_vectors_survive_half_precision(precision: str) -> None:
    """As large as those of fine-tuning are: the steps between levels are below what halves hold."""
    weight, tuned = weights((40, 64))
    near = [weight + 1e-4 * (expert - weight) for expert in tuned]
    vectors = Quantised(precision).store(weight, near.__getitem__, T)  # type: ignore[arg-type]
    exact = torch.stack([expert - weight for expert in near])
    bound = exact.abs().amax(dim=2, keepdim=True) * (1 / 254 + 2**-8)
    assert ((written_out(vectors) - exact).abs() <= bound).all()


def test_a_weight_in_half_precision_is_quantised_as_exactly_as_its_difference_is() -> None:
    weight, tuned = matrix((40, 64), False)
    low, low_tuned = weight.bfloat16(), [expert.bfloat16() for expert in tuned]
    vectors = Quantised("float32").store(low, low_tuned.__getitem__, T)
    for i, expert in enumerate(low_tuned):
        exact = (expert - low).float()
        off = (written_out(vectors.double())[i] - exact).abs()
        assert (off <= exact.abs().amax(dim=1, keepdim=True) / 254 * (1 + 1e-5)).all()


def test_they_take_little_more_than_a_quarter_of_the_dense_in_memory_and_in_a_file(
    tmp_path: Path,
) -> None:
    weight, tuned = matrix((96, 384), True)
    forms = {"dense": Dense(), "quantised": Quantised()}
    kinds = {name: form.store(weight, tuned.__getitem__, T) for name, form in forms.items()}
    assert kinds["quantised"].nbytes == T * (96 * 384 + 4 * 384)
    for name, vectors in kinds.items():
        save_tensors(tmp_path / name, vectors.state_dict(), {})
    dense, packed = ((tmp_path / name).stat().st_size for name in forms)
    assert packed <= 0.27 * dense


def test_a_tile_is_written_where_it_is_wanted_and_nowhere_else() -> None:
    weight, tuned = matrix((7, 9), True)
    vectors = Quantised().store(weight, tuned.__getitem__, T)
    assert isinstance(vectors, QuantisedVectors)
    room = torch.full((T + 1, 4, 7), 5.0)
    vectors.write_tile(3, 1, room[:-1])
    assert room[:-1].equal(vectors.tile(3, 7, 1, torch.float32))
    assert room[-1].eq(5.0).all()


def test_they_are_frozen_and_their_levels_stay_whole_numbers_when_a_model_is_cast() -> None:
    vectors = stored(Quantised(), (7, 9))
    before = written_out(vectors)
    cast: dict[str, Tensor] = dict(vectors.to(torch.float16).state_dict())
    assert {name: tensor.dtype for name, tensor in cast.items()} == {
        "levels": torch.int8,
        "absmax": torch.float16,
    }
    assert not any(part.requires_grad for part in vectors.parameters())
    largest = before.abs().max()
    assert (vectors.mix(torch.eye(B, T).double()) - before[:B]).abs().max() <= 2**-11 * largest

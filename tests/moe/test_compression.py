"""Task vectors in every form, against the dense ones that they stand for."""

import pytest
import torch
from helpers.stored_vectors import (
    LOSSLESS,
    LOSSY,
    SHAPES,
    B,
    T,
    matrix,
    stored,
    weights,
    written_out,
)
from torch import Tensor

from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised


@SHAPES
@pytest.mark.parametrize("compression", LOSSLESS, ids=repr)
def test_what_keeps_all_gives_the_task_vectors(
    compression: Compression, shape: tuple[int, ...]
) -> None:
    weight, tuned = weights(shape)
    expected = torch.stack([each - weight for each in tuned])
    torch.testing.assert_close(
        written_out(stored(compression, shape)), expected, rtol=0, atol=1e-12
    )


@SHAPES
@pytest.mark.parametrize("compression", [*LOSSLESS, *LOSSY], ids=repr)
def test_a_mixture_is_the_weighted_sum_of_the_task_vectors_and_so_is_its_gradient(
    compression: Compression, shape: tuple[int, ...]
) -> None:
    vectors = stored(compression, shape)
    routing_weights = torch.randn(B, T, dtype=torch.float64, requires_grad=True)
    mixed = vectors.mix(routing_weights)
    expected = torch.einsum("bt,t...->b...", routing_weights, written_out(vectors).detach())
    torch.testing.assert_close(mixed, expected, rtol=1e-9, atol=1e-12)
    cotangent = torch.randn_like(mixed)
    [actual] = torch.autograd.grad(mixed, routing_weights, cotangent)
    [reference] = torch.autograd.grad(expected, routing_weights, cotangent)
    torch.testing.assert_close(actual, reference, rtol=1e-9, atol=1e-12)


def test_an_expert_equal_to_the_pretrained_weights_has_a_task_vector_of_zero() -> None:
    weight = torch.randn(7, 9)
    for compression in (*LOSSLESS, *LOSSY):
        vectors = compression.store(weight, lambda i: weight, T)
        assert not vectors.mix(torch.ones(B, T)).any()


@pytest.mark.parametrize("compression", [Pruned(ratio=0.9), LowRank(rank=2), Quantised()], ids=repr)
def test_nothing_unpacked_is_kept_for_the_backward_pass(compression: Compression) -> None:
    weight, tuned = torch.randn(96, 384), torch.randn(T, 96, 384)
    vectors = compression.store(weight, lambda i: tuned[i], T)
    kept: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        vectors.mix(torch.randn(1, T, requires_grad=True))
    assert max((tensor.numel() for tensor in kept), default=0) < 96 * 384


@pytest.mark.parametrize("compression", [*LOSSLESS, *LOSSY], ids=repr)
def test_half_precision_is_stored_and_full_precision_is_computed(compression: Compression) -> None:
    weight, tuned = weights((7, 9))
    halved = type(compression)(**{**vars(compression), "precision": "bfloat16"})
    vectors = halved.store(weight, lambda i: tuned[i], T)
    floats = [each for each in vectors.state_dict().values() if each.is_floating_point()]
    assert {each.dtype for each in floats} == {torch.bfloat16}
    mixed = vectors.mix(torch.ones(B, T, dtype=torch.float64))
    assert mixed.dtype == torch.float64
    exact = compression.store(weight, lambda i: tuned[i], T).mix(torch.ones(B, T).double())
    assert 0 < (mixed - exact).abs().max() < 0.1


@pytest.mark.parametrize("column_major", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("compression", [*LOSSLESS, *LOSSY, Pruned(ratio=0.95)], ids=repr)
@pytest.mark.parametrize("shape", [(7, 9), (300, 250)], ids=str)  # less than a block, and more
def test_a_tile_is_some_rows_or_columns_however_they_lie_in_memory(
    compression: Compression, shape: tuple[int, int], column_major: bool
) -> None:
    weight, tuned = matrix(shape, column_major)
    vectors = compression.store(weight, lambda i: tuned[i], T)
    whole = vectors.mix(torch.eye(T))
    assert whole.shape == (T, *shape)
    for start, stop in ((0, 1), (2, 7), (0, min(shape)), (min(shape) - 1, min(shape))):
        rows = vectors.tile(start, stop, 0, torch.float64)
        torch.testing.assert_close(rows.float(), whole[:, start:stop], rtol=1e-5, atol=1e-5)
        columns = vectors.tile(start, stop, 1, torch.float32)
        torch.testing.assert_close(columns, whole[:, :, start:stop].mT, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("column_major", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("compression", [*LOSSLESS, *LOSSY], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tiles_by_number_are_those_by_lines(
    compression: Compression, column_major: bool, dtype: torch.dtype
) -> None:
    weight, tuned = matrix((7, 9), column_major)
    vectors = compression.store(weight, lambda i: tuned[i], T)
    for dim, length in enumerate(weight.shape):
        tiles = vectors.tiles(length, 4, dim, dtype)
        for i, start in enumerate(range(0, length, 4)):
            expected = vectors.tile(start, min(start + 4, length), dim, dtype)
            torch.testing.assert_close(tiles(i), expected, rtol=0, atol=0)


@pytest.mark.parametrize("compression", [Dense(), Pruned(ratio=0.5)], ids=repr)
def test_memory_order_changes_nothing_but_the_order(compression: Compression) -> None:
    by_rows, by_columns = (
        compression.store(weight, tuned.__getitem__, T).mix(torch.eye(T))
        for weight, tuned in (matrix((300, 250), False), matrix((300, 250), True))
    )
    assert torch.equal(by_rows, by_columns)

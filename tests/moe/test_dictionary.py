"""Compressed task vectors against the dense ones that they stand for."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import save_tensors
from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import Compression, TaskVectors
from wemoe_pl.moe.dense import Dense, DenseVectors
from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.low_rank import LowRank, LowRankVectors
from wemoe_pl.moe.pruned import Pruned

B, T = 3, 4
SHAPES = pytest.mark.parametrize("shape", [(12,), (7, 9), (5, 3, 2)], ids=str)
LOSSLESS = [Dense(), Pruned(ratio=0.0), LowRank(energy=1.0)]
LOSSY = [Pruned(ratio=0.7), LowRank(rank=2), LowRank(energy=0.8)]


def weights(shape: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    weight, *tuned = torch.randn(T + 1, *shape, generator=generator, dtype=torch.float64)
    return weight, tuned


def stored(compression: Compression, shape: tuple[int, ...]) -> TaskVectors:
    weight, tuned = weights(shape)
    return compression.store(weight, lambda i: tuned[i], T)


def written_out(vectors: TaskVectors) -> Tensor:
    """What each task vector is, (T, *shape): mixing with one-hot routing weights."""
    return vectors.mix(torch.eye(T, dtype=torch.float64))


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


@SHAPES
@pytest.mark.parametrize("ratio", [0.3, 0.7, 0.9])
def test_pruning_keeps_the_largest_entries_of_each_and_does_not_rescale_them(
    shape: tuple[int, ...], ratio: float
) -> None:
    weight, tuned = weights(shape)
    for vector, expert in zip(written_out(stored(Pruned(ratio=ratio), shape)), tuned, strict=True):
        entries = (expert - weight).flatten().tolist()
        kept = len(entries) - int(ratio * len(entries) + 1e-9)
        largest = sorted(range(len(entries)), key=lambda i: -abs(entries[i]))[:kept]
        expected = [value if i in largest else 0.0 for i, value in enumerate(entries)]
        assert vector.flatten().tolist() == expected


def test_a_ratio_of_one_leaves_nothing() -> None:
    assert not written_out(stored(Pruned(ratio=1.0), (7, 9))).any()


def test_low_rank_is_the_nearest_matrix_of_that_rank() -> None:
    weight, tuned = weights((7, 9))
    for vector, expert in zip(written_out(stored(LowRank(rank=2), (7, 9))), tuned, strict=True):
        left, singular, right = torch.linalg.svd(expert - weight, full_matrices=False)
        nearest = left[:, :2] @ torch.diag(singular[:2]) @ right[:2]
        torch.testing.assert_close(vector, nearest, rtol=0, atol=1e-12)


@pytest.mark.parametrize("energy", [0.5, 0.8, 0.99])
def test_the_rank_is_the_least_that_keeps_the_energy(energy: float) -> None:
    weight, tuned = weights((7, 9))
    vectors = stored(LowRank(energy=energy), (7, 9))
    assert isinstance(vectors, LowRankVectors)
    for i, expert in enumerate(tuned):
        squares = torch.linalg.svdvals(expert - weight).square()
        rank = int((vectors.owners == i).sum())
        assert squares[:rank].sum() >= energy * squares.sum()
        assert squares[: rank - 1].sum() < energy * squares.sum()


def test_an_expert_equal_to_the_pretrained_weights_has_a_task_vector_of_zero() -> None:
    weight = torch.randn(7, 9)
    for compression in (*LOSSLESS, *LOSSY):
        vectors = compression.store(weight, lambda i: weight, T)
        assert not vectors.mix(torch.ones(B, T)).any()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("ratio", [0.9, 0.95])
def test_pruned_takes_a_quarter_of_the_dense_at_most_in_memory_and_in_a_file(
    precision: str, ratio: float, tmp_path: Path
) -> None:
    weight, tuned = torch.randn(96, 384), torch.randn(T, 96, 384)
    dense = Dense(precision).store(weight, lambda i: tuned[i], T)  # type: ignore[arg-type]
    pruned = Pruned(precision, ratio).store(weight, lambda i: tuned[i], T)  # type: ignore[arg-type]
    assert dense.nbytes == T * 96 * 384 * (4 if precision == "float32" else 2)
    assert pruned.nbytes <= 0.25 * dense.nbytes
    for name, vectors in (("dense", dense), ("pruned", pruned)):
        save_tensors(tmp_path / name, vectors.state_dict(), {})
    sizes = [(tmp_path / name).stat().st_size for name in ("pruned", "dense")]
    assert sizes[0] <= 0.25 * sizes[1]


@pytest.mark.parametrize("compression", [Pruned(ratio=0.9), LowRank(rank=2)], ids=repr)
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


def matrix(shape: tuple[int, int], column_major: bool) -> tuple[Tensor, list[Tensor]]:
    weight, *tuned = torch.randn(T + 1, *shape, generator=torch.Generator().manual_seed(0))
    return (weight.mT.contiguous().mT if column_major else weight), tuned


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


def test_dense_columns_of_a_column_major_matrix_are_not_copied() -> None:
    weight, tuned = matrix((7, 9), column_major=True)
    vectors = Dense().store(weight, tuned.__getitem__, T)
    assert isinstance(vectors, DenseVectors)
    tile = vectors.tile(2, 5, 1, torch.float32)
    assert tile.reshape(T, -1).data_ptr() == vectors.stacked[0, 0, 2].data_ptr()
    second = vectors.tiles(9, 2, 1, torch.float32)(1)
    assert second.data_ptr() == vectors.stacked[0, 0, 2].data_ptr()


def test_low_rank_vectors_are_applied_without_being_formed() -> None:
    weight, tuned = weights((7, 9))
    vectors = LowRank(rank=2).store(weight, tuned.__getitem__, T)
    assert isinstance(vectors, LowRankVectors)
    x, routing_weights = torch.randn(B, 5, 9).double(), torch.randn(B, T).double()
    expected = torch.einsum("bmn,bkn->bkm", vectors.mix(routing_weights), x)
    torch.testing.assert_close(vectors.apply_to(x, routing_weights), expected)


def test_a_dictionary_names_what_it_holds_like_the_module() -> None:
    mlp = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2, bias=False))
    dictionary = Dictionary(
        {
            name: Dense().store(w, ([w + 1] * T).__getitem__, T)
            for name, w in mlp.state_dict().items()
        }
    )
    assert [name for name, _ in dictionary.items()] == [name for name, _ in mlp.named_parameters()]
    assert "0.weight.entries" in dictionary.state_dict()
    assert dictionary.nbytes == T * 4 * sum(weight.numel() for weight in mlp.parameters())
    mixed = dictionary.mix(torch.ones(1, T))
    torch.testing.assert_close(mixed["1.weight"], torch.full((1, 2, 3), float(T)))
    assert not any(weight.requires_grad for weight in dictionary.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pruned(ratio=1.2), r"pruning ratio is 1\.2: choose a number from 0"),
        (lambda: LowRank(), "either `rank` or `energy`"),
        (lambda: LowRank(rank=3, energy=0.5), "either `rank` or `energy`"),
        (lambda: LowRank(rank=0), "rank is 0: give a number from 1"),
        (lambda: LowRank(energy=0.0), r"energy is 0\.0: choose a number above 0"),
    ],
)
def test_values_out_of_range_are_refused(make: type[Compression], message: str) -> None:
    with pytest.raises(MergeError, match=message):
        make()

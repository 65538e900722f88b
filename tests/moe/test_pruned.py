"""Pruned task vectors keep the largest entries, and are small."""

from pathlib import Path

import pytest
import torch
from helpers.stored_vectors import (
    SHAPES,
    T,
    stored,
    weights,
    written_out,
)

from wemoe_pl.checkpoints import save_tensors
from wemoe_pl.errors import MergeError
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.pruned import Pruned


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


def test_a_ratio_out_of_range_is_refused() -> None:
    with pytest.raises(MergeError, match=r"pruning ratio is 1\.2: choose a number from 0"):
        Pruned(ratio=1.2)

"""Tiles cover everything once, fit in their budget, and are shared out."""

from collections import Counter
from itertools import product

import pytest
import torch

from wemoe_pl.moe.kernels.tiling import CPU_BUDGET, TILE_UNITS, Budget, Tiling

UNIT_BYTES = 4 * 768
SIZES = pytest.mark.parametrize(
    ("samples", "hidden", "threads", "sum_bytes"),
    [*product([0, 1, 7, 16, 40, 128], [1, 100, 3072], [1, 2, 3, 4], [0, 2**30])],
)


@SIZES
def test_threads_cover_every_sample_and_hidden_unit_once(
    samples: int, hidden: int, threads: int, sum_bytes: int
) -> None:
    tiling = Tiling.of(samples, hidden, UNIT_BYTES, CPU_BUDGET, threads, sum_bytes)
    pairs = Counter(
        (entry, sample)
        for thread in tiling.by_thread()
        for tile in thread.tiles
        for group in thread.groups
        for entry in range(tile * tiling.units, min((tile + 1) * tiling.units, hidden))
        for sample in range(group.start, group.stop)
    )
    assert set(pairs.values()) <= {1}
    assert len(pairs) == samples * hidden


@SIZES
def test_tiles_fit_and_threads_have_about_as_much_to_do(
    samples: int, hidden: int, threads: int, sum_bytes: int
) -> None:
    tiling = Tiling.of(samples, hidden, UNIT_BYTES, CPU_BUDGET, threads, sum_bytes)
    assert tiling.group * tiling.units * UNIT_BYTES <= CPU_BUDGET.tile
    work = tiling.by_thread()
    assert len(work) == tiling.threads <= threads
    for counts in ([len(thread.tiles) for thread in work], [len(thread.groups) for thread in work]):
        assert max(counts) - min(counts) <= 1
        assert samples == 0 or min(counts) > 0


def test_threads_have_hidden_units_of_their_own_where_there_is_room_for_the_sums() -> None:
    budget = Budget(tile=TILE_UNITS * UNIT_BYTES * 4, kept=0, sums=100)
    assert Tiling.of(8, 3072, UNIT_BYTES, budget, threads=2, sum_bytes=100).splits_hidden
    by_sample = Tiling.of(8, 3072, UNIT_BYTES, budget, threads=2, sum_bytes=101)
    assert (by_sample.splits_hidden, by_sample.threads, by_sample.group) == (False, 2, 4)
    assert Tiling.of(12, 3072, UNIT_BYTES, budget, threads=2, sum_bytes=101).group == 3
    assert Tiling.of(4, 3072, UNIT_BYTES, budget, threads=2, sum_bytes=101).threads == 1


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 6, 16, 40])
@pytest.mark.parametrize("threads", [2, 4])
def test_hidden_units_are_shared_out_evenly(samples: int, threads: int) -> None:
    tiling = Tiling.of(samples, 3072, UNIT_BYTES, CPU_BUDGET, threads)
    assert tiling.splits_hidden
    edges = [range(3072)[i * tiling.units :][: tiling.units] for i in range(32)]
    shares = [sum(len(edges[tile]) for tile in thread.tiles) for thread in tiling.by_thread()]
    assert shares == [3072 // threads] * threads


def test_the_units_of_a_tile_are_whole_blocks_of_a_sparse_dictionary() -> None:
    for threads in (1, 2, 3, 4):
        assert Tiling.of(1, 3072, UNIT_BYTES, CPU_BUDGET, threads).units % TILE_UNITS == 0


@pytest.mark.parametrize("sum_bytes", [0, 2**30])
def test_what_threads_add_is_summed_up(sum_bytes: int) -> None:
    tiling = Tiling.of(32, 3072, UNIT_BYTES, CPU_BUDGET, 2, sum_bytes)
    sums = tiling.sums(torch.empty(3, dtype=torch.float32), torch.float64)
    assert (sums[0] is sums[1]) is not tiling.splits_hidden
    for i, each in enumerate(sums):
        each[i] += 1.0
    total = tiling.total(sums)
    assert total.tolist() == [1.0, 1.0, 0.0]
    assert total.dtype == torch.float64


@pytest.mark.parametrize("samples", [1, 4, 16])
def test_what_is_converted_for_a_tile_takes_room_in_it_too(samples: int) -> None:
    usual, smaller = (
        Tiling.of(samples, 3072, UNIT_BYTES, CPU_BUDGET, 2, converted=count) for count in (0, 9)
    )
    fits = (samples + 9) * smaller.units * UNIT_BYTES <= CPU_BUDGET.tile
    assert fits or smaller.units == TILE_UNITS
    assert smaller.units < usual.units or usual.units == TILE_UNITS
    assert smaller.group == usual.group

"""Tiles cover everything once, fit in their room, and are shared out."""

from collections import Counter
from itertools import product

import pytest
import torch

from wemoe_pl.moe.kernels.tiles import CPU_ROOM, LINES, Room, Tiling

LINE = 4 * 768  # bytes
SIZES = pytest.mark.parametrize(
    ("samples", "hidden", "threads", "sum_bytes"),
    [*product([0, 1, 7, 16, 40, 128], [1, 100, 3072], [1, 2, 3, 4], [0, 2**30])],
)


@SIZES
def test_parts_cover_every_sample_and_hidden_entry_once(
    samples: int, hidden: int, threads: int, sum_bytes: int
) -> None:
    tiling = Tiling.of(samples, hidden, LINE, CPU_ROOM, threads, sum_bytes)
    pairs = Counter(
        (entry, sample)
        for part in tiling.parts()
        for tile in part.tiles
        for group in part.groups
        for entry in range(tile * tiling.lines, min((tile + 1) * tiling.lines, hidden))
        for sample in range(group.start, group.stop)
    )
    assert set(pairs.values()) <= {1}
    assert len(pairs) == samples * hidden


@SIZES
def test_tiles_fit_and_threads_have_about_as_much_to_do(
    samples: int, hidden: int, threads: int, sum_bytes: int
) -> None:
    tiling = Tiling.of(samples, hidden, LINE, CPU_ROOM, threads, sum_bytes)
    assert tiling.group * tiling.lines * LINE <= CPU_ROOM.tile
    parts = tiling.parts()
    assert len(parts) == tiling.threads <= threads
    assert [part.number for part in parts] == [*range(len(parts))]
    for counts in ([len(part.tiles) for part in parts], [len(part.groups) for part in parts]):
        assert max(counts) - min(counts) <= 1
        assert samples == 0 or min(counts) > 0


def test_threads_have_hidden_entries_of_their_own_where_there_is_room_for_the_sums() -> None:
    room = Room(tile=LINES * LINE * 4, kept=0, sums=100)
    assert Tiling.of(8, 3072, LINE, room, threads=2, sum_bytes=100).apart
    by_sample = Tiling.of(8, 3072, LINE, room, threads=2, sum_bytes=101)
    assert (by_sample.apart, by_sample.threads, by_sample.group) == (False, 2, 4)
    assert Tiling.of(12, 3072, LINE, room, threads=2, sum_bytes=101).group == 3
    assert Tiling.of(4, 3072, LINE, room, threads=2, sum_bytes=101).threads == 1


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 6, 16, 40])
@pytest.mark.parametrize("threads", [2, 4])
def test_hidden_entries_are_shared_out_evenly(samples: int, threads: int) -> None:
    tiling = Tiling.of(samples, 3072, LINE, CPU_ROOM, threads)
    assert tiling.apart
    edges = [range(3072)[i * tiling.lines :][: tiling.lines] for i in range(32)]
    shares = [sum(len(edges[tile]) for tile in part.tiles) for part in tiling.parts()]
    assert shares == [3072 // threads] * threads


def test_the_lines_of_a_tile_are_whole_blocks_of_a_sparse_dictionary() -> None:
    for threads in (1, 2, 3, 4):
        assert Tiling.of(1, 3072, LINE, CPU_ROOM, threads).lines % LINES == 0


@pytest.mark.parametrize("sum_bytes", [0, 2**30])
def test_what_parts_add_is_summed_up(sum_bytes: int) -> None:
    tiling = Tiling.of(32, 3072, LINE, CPU_ROOM, 2, sum_bytes)
    sums = tiling.sums(torch.empty(3, dtype=torch.float32), torch.float64)
    assert (sums[0] is sums[1]) is not tiling.apart
    for i, each in enumerate(sums):
        each[i] += 1.0
    total = tiling.total(sums)
    assert total.tolist() == [1.0, 1.0, 0.0]
    assert total.dtype == torch.float64

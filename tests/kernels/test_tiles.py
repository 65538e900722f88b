"""Tiles cover everything once, and fit in their room."""

from collections import Counter

import pytest

from wemoe_pl.kernels.tiles import CPU_ROOM, LINES, Tiling

LINE = 4 * 768  # bytes


@pytest.mark.parametrize("samples", [0, 1, 7, 16, 40, 128])
@pytest.mark.parametrize("hidden", [1, 100, 3072])
def test_tiles_cover_every_sample_and_hidden_entry_once_and_fit(samples: int, hidden: int) -> None:
    tiling = Tiling.of(samples, hidden, LINE, CPU_ROOM.tile)
    pairs = Counter(
        (entry, sample)
        for tile in tiling.tiles
        for group in tiling.groups
        for entry in range(tile * tiling.lines, min((tile + 1) * tiling.lines, hidden))
        for sample in range(group.start, group.stop)
    )
    assert set(pairs.values()) <= {1}
    assert len(pairs) == samples * hidden
    assert tiling.group * tiling.lines * LINE <= CPU_ROOM.tile


@pytest.mark.parametrize("samples", [1, 3, 16])
def test_the_lines_of_a_tile_are_whole_blocks_of_a_sparse_dictionary(samples: int) -> None:
    assert Tiling.of(samples, 3072, LINE, CPU_ROOM.tile).lines % LINES == 0

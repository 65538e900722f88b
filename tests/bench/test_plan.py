"""The plan on paper: it counts what is really stored, and the documentation says the same."""

from pathlib import Path

import pytest
import torch
from timm.layers import Mlp

import wemoe_pl
from wemoe_pl.bench.limits import Count
from wemoe_pl.bench.plan import COMPRESSIONS, plan, upscaled_block
from wemoe_pl.bench.subjects import SHAPES, BenchRow, Settings
from wemoe_pl.moe.layers import WeightEnsemblingMoE

SCALING = Path(wemoe_pl.__file__).parent.parent / "docs/scaling.md"
PCIE, NVLINK, TENSOR_CORES = 64e9, 450e9, 989e12  # bytes and operations in a second
FORM = pytest.mark.parametrize("form", COMPRESSIONS)


@pytest.fixture(scope="module")
def large() -> dict[str, dict[str, BenchRow]]:
    """By form and number of devices: ViT-L/14 with 20 experts."""
    rows: dict[str, dict[str, BenchRow]] = {}
    for row in plan(Settings(shapes=("vitl14",), experts=(20,))):
        rows.setdefault(row["form"], {})[row["devices"]] = row
    return rows


@FORM
def test_a_block_counted_without_memory_takes_what_one_in_memory_takes(form: str) -> None:
    width = SHAPES["miniature"].width
    mlps = [Mlp(width, 4 * width) for _ in range(4)]
    stored = WeightEnsemblingMoE(mlps[0], mlps[1:], compression=COMPRESSIONS[form])
    counted = upscaled_block(SHAPES["miniature"], 3, COMPRESSIONS[form])
    assert counted.task_vectors.nbytes == stored.task_vectors.nbytes


def test_a_dense_dictionary_is_all_the_numbers_of_all_experts(
    large: dict[str, dict[str, BenchRow]],
) -> None:
    width, hidden, blocks, experts = 1024, 4096, 24, 20
    numbers = experts * blocks * (2 * width * hidden + hidden + width)
    assert large["dense, float32"]["1"]["dictionary"] == 4 * numbers
    assert large["dense, bfloat16"]["4"]["dictionary"] == 2 * numbers / 4
    assert large["dense, bfloat16"]["1, streamed"]["dictionary"] == 0
    routers = blocks * (width * width + width + width * experts + experts)
    assert large["dense, float32"]["1"]["learned"] == 4 * 5 * routers


@FORM
def test_the_documentation_has_these_sums(form: str, large: dict[str, dict[str, BenchRow]]) -> None:
    rows = large[form]
    sums = [row["sum"] for row in rows.values()]
    assert line(form, gigabytes(rows["1"]["dictionary"]), *map(gigabytes, sums)) in documented()


@FORM
def test_the_documentation_has_these_transfers(
    form: str, large: dict[str, dict[str, BenchRow]]
) -> None:
    told = [
        word
        for devices, speed in (("1, streamed", PCIE), ("2", NVLINK), ("8", NVLINK))
        for moved in [large[form][devices]["moved"]]
        for word in (gigabytes(moved), f"{1e3 * moved / speed:.0f} ms")
    ]
    assert line(form, *told) in documented()


def test_the_documentation_has_the_arithmetic_that_they_are_compared_with() -> None:
    for samples, milliseconds in ((128, 43), (16, 5)):
        count = Count.of(SHAPES["vitl14"], samples, experts=20, learning=True)
        seconds = 2 * SHAPES["vitl14"].blocks * count.multiply_adds / TENSOR_CORES
        assert round(1e3 * seconds) == milliseconds
        assert f"{milliseconds} ms" in SCALING.read_text()


def test_bytes_are_told_without_any_memory(large: dict[str, dict[str, BenchRow]]) -> None:
    block = upscaled_block(SHAPES["vitl14"], 20, COMPRESSIONS["dense, float32"])
    assert all(tensor.device == torch.device("meta") for tensor in block.state_dict().values())


def gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f}"


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def documented() -> list[str]:
    return SCALING.read_text().splitlines()

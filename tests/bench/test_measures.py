"""What each measure tells, on a model of the miniature's size."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from wemoe_pl.bench import measures
from wemoe_pl.bench.measures import MEASURES
from wemoe_pl.bench.names import RANDOM_MEASURES
from wemoe_pl.bench.subjects import SHAPES, BenchRow, Settings, upscaled

SETTINGS = Settings(shapes=("miniature",), samples=(1, 3), experts=(2,), depths=(0, 2), repeats=1)


@pytest.fixture(scope="module")
def rows() -> dict[str, list[BenchRow]]:
    torch.manual_seed(0)
    small = replace(SETTINGS, blocks=2)
    return {name: [*MEASURES[name](small)] for name in RANDOM_MEASURES}


def test_the_layer_is_timed_beside_its_rivals(rows: dict[str, list[BenchRow]]) -> None:
    runs = {"plain", "WEMoE", "loop over samples", "all weights at once"}
    for samples in (1, 3):
        for depth in (0, 2):
            part = [r for r in rows["layer"] if (r["samples"], r["depth"]) == (samples, depth)]
            assert {row["run"] for row in part} >= runs
            plain = next(row for row in part if row["run"] == "plain")
            for row in part:
                assert row["forward ×"] == row["forward"] / plain["forward"]
                assert row["both ×"] == row["both"] / plain["both"]


def test_loops_over_many_samples_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "MOST_LOOPED", 2)
    looped = {r["samples"] for r in measures.layer(SETTINGS) if r["run"] == "loop over samples"}
    assert looped == {1}


def test_one_way_is_chosen_for_every_load(rows: dict[str, list[BenchRow]]) -> None:
    for what in ("forward", "both"):
        chosen = [row for row in rows["ways"] if row[f"chosen, {what}"]]
        assert {row["run"] for row in chosen} <= {"weight space", "activation space"}
        loads = {(row["samples"], row["tokens"]) for row in rows["ways"]}
        assert len(chosen) == len(loads) == 10


def test_memory_is_told_beside_the_size_of_the_dictionary(rows: dict[str, list[BenchRow]]) -> None:
    for row in rows["memory"]:
        assert row["dictionary"] == 4 * 2 * SHAPES["miniature"].weights
        if row["bytes"] is not None:
            tokens = 4 * row["samples"] * 50 * 96
            assert row["extra"] == row["bytes"] - 2 * tokens
            assert row["ratio"] == row["extra"] / row["dictionary"]
    assert [row["run"] for row in rows["memory"][:2]] == ["plain", "WEMoE"]


def test_steps_and_evaluation_of_an_encoder_take_all_tasks_at_once(
    rows: dict[str, list[BenchRow]],
) -> None:
    for row in rows["encoder"]:
        assert row["blocks"] == 2
        assert row["images/s"] == pytest.approx(2 * row["per task"] / row["seconds"])
    assert {(row["what"], row["run"]) for row in rows["encoder"]} == {
        (what, run) for what in ("step", "evaluation") for run in ("plain", "WEMoE")
    }


def test_building_tells_what_a_checkpoint_holds(rows: dict[str, list[BenchRow]]) -> None:
    [row] = rows["build"]
    width = SHAPES["miniature"].width
    routers = 2 * 4 * (width * width + width + 2 * width + 2)
    assert routers < row["checkpoint"] < routers + 4096
    assert row["model"] > 4 * 2 * 3 * SHAPES["miniature"].weights


@pytest.mark.parametrize(
    ("name", "mlp", "tokens"),
    [("vitb32", 4_722_432, 50), ("vitb16", 4_722_432, 197), ("vitl14", 8_393_728, 257)],
)
def test_shapes_are_those_of_the_published_models(name: str, mlp: int, tokens: int) -> None:
    shape = SHAPES[name]
    assert shape.weights == mlp
    assert shape.tokens == tokens == (shape.image // shape.patch) ** 2 + 1


def gradients(encoder: torch.nn.Module) -> Iterator[bool]:
    return (parameter.grad is not None for parameter in encoder.parameters())


def test_a_step_reaches_the_routers_alone() -> None:
    _, merged = upscaled(SHAPES["miniature"], 1, 2, SETTINGS)
    heads = SETTINGS.batch(2, 5, 96).detach()
    measures.step(merged, SETTINGS.batch(6, 3, 28, 28).detach(), heads)
    assert any(gradients(merged))
    for parameter in merged.parameters():
        assert (parameter.grad is not None) == parameter.requires_grad

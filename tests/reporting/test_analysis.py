"""Analyses against slow ones that are written out, and what they leave."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask
from wemoe_pl.errors import ConfigError, DataError
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.reporting.analysis import (
    layer_of,
    write_landscape,
    write_parameters,
    write_routing,
    write_similarity,
)
from wemoe_pl.training.routing import TaskRouting

CONFIGS = Path(__file__).parents[2] / "configs"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def vectors_of(suite: Suite) -> dict[str, dict[str, Tensor]]:
    base = suite.load_pretrained().state_dict()
    return {
        task: {key: (state[key] - base[key]).double().flatten() for key in base}
        for task, state in suite.load_experts().items()
    }


def test_similarity_is_that_of_flattened_task_vectors(tiny_suite: Suite, tmp_path: Path) -> None:
    table, picture = write_similarity(tiny_suite, tmp_path)
    vectors = vectors_of(tiny_suite)
    rows = rows_of(table)
    layers = dict.fromkeys(row["layer"] for row in rows)
    assert list(layers)[-1] == "all"
    assert {"blocks.0.attn", "blocks.1.mlp", "pos_embed"} <= set(layers)
    assert len(rows) == 3 * len(layers)
    for row in rows:
        layer = row["layer"]
        keys = [key for key in vectors["cars"] if layer in ("all", layer_of(key))]
        a = torch.cat([vectors[row["task_a"]][key] for key in keys])
        b = torch.cat([vectors[row["task_b"]][key] for key in keys])
        cosine = (a @ b / (a.norm() * b.norm())).item()
        assert float(row["cosine"]) == pytest.approx(cosine, abs=1e-9)
        assert float(row["distance"]) == pytest.approx((a - b).norm().item(), rel=1e-6)
    assert picture.name == "similarity.png"
    assert picture.is_file()


def test_one_expert_is_like_no_other(tiny_suite: Suite, tmp_path: Path) -> None:
    alone = replace(tiny_suite, experts={"cars": tiny_suite.experts["cars"]})
    with pytest.raises(ConfigError, match="Similarity needs two experts, but 'tiny' has 1"):
        write_similarity(alone, tmp_path)


def test_the_landscape_has_the_models_at_its_corners(tiny_suite: Suite, tmp_path: Path) -> None:
    data = MultiTaskData(tiny_suite)
    table, picture = write_landscape(
        tiny_suite, data, ("cars", "dtd"), tmp_path, points=5, images=9
    )
    rows = rows_of(table)
    assert picture.is_file()
    assert len(rows) == 5 * 5 * 2
    assert sorted({float(row["a"]) for row in rows}) == [-0.5, 0.0, 0.5, 1.0, 1.5]
    vectors = vectors_of(tiny_suite)
    for a, b in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, -0.5)):
        encoder = tiny_suite.load_pretrained().double()
        for key, weight in encoder.named_parameters():
            moved = a * vectors["cars"][key] + b * vectors["dtd"][key]
            weight.data += moved.reshape(weight.shape)
        for task in ("cars", "dtd"):
            images = data.sets.load(data.sets.scored[task])
            batch = torch.stack([images[i][0] for i in range(9)]).double()
            labels = torch.tensor([images[i][1] for i in range(9)])
            logits = tiny_suite.load_head(task).double()(encoder(batch))
            [row] = [
                row for row in rows
                if (float(row["a"]), float(row["b"]), row["task"]) == (a, b, task)
            ]  # fmt: skip
            assert float(row["loss"]) == pytest.approx(
                F.cross_entropy(logits, labels).item(), rel=1e-3
            )
            accuracy = (logits.argmax(-1) == labels).double().mean().item()
            assert float(row["accuracy"]) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        (("cars", "dtd"), {"points": 1}, "points is 1 and images is 256"),
        (("cars", "dtd"), {"images": 0}, "points is 11 and images is 0"),
        (("cars", "mnist"), {}, "'mnist' has no expert: choose two of cars, dtd"),
    ],
)
def test_what_has_no_landscape_is_refused(
    tasks: tuple[str, str], options: dict[str, int], message: str,
    tiny_suite: Suite, tmp_path: Path,
) -> None:  # fmt: skip
    suite = tiny_suite.restricted_to(None, unseen=["mnist"])
    with pytest.raises(ConfigError, match=message):
        write_landscape(suite, MultiTaskData(suite), tasks, tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_images_without_labels_have_no_loss(tiny_suite: Suite, tmp_path: Path) -> None:
    tiny_suite.task("dtd").images("test")[0][0].save(tmp_path / "a.png")
    dtd = ImageFolderTask(test=str(tmp_path), labelled=False)
    suite = replace(tiny_suite, tasks=tiny_suite.tasks | {"dtd": dtd})
    with pytest.raises(DataError, match="'dtd' has no labelled test images"):
        write_landscape(suite, MultiTaskData(suite), ("cars", "dtd"), tmp_path)


@pytest.mark.slow
def test_parameters_are_those_that_are_published(tmp_path: Path) -> None:
    backbone = read_suite(str(CONFIGS / "suites" / "clip_vitb32.yaml")).backbone
    methods = {f"depth {d}": WEMoE(router_depth=d) for d in (0, 1, 2)} | {"E-WEMoE": EWEMoE()}
    table, picture = write_parameters(backbone, methods, 8, tmp_path)
    assert picture.is_file()
    rows = {(row["method"], int(row["tasks"])): row for row in rows_of(table)}
    assert len(rows) == 4 * 8
    assert int(rows["depth 2", 8]["total"]) == 547_970_400
    trainable = {name: int(rows[name, 8]["trainable"]) for name in methods}
    assert trainable == {
        "depth 0": 96, "depth 1": 73_824, "depth 2": 7_160_928, "E-WEMoE": 596_744,
    }  # fmt: skip
    width, hidden, blocks = 768, 3072, 12
    mlps = blocks * (2 * width * hidden + hidden + width)
    for name in ("depth 0", "depth 1"):
        steps = {int(rows[name, n + 1]["total"]) - int(rows[name, n]["total"]) for n in range(1, 8)}
        assert steps == {mlps + int(rows[name, 1]["trainable"])}
    kept = int(rows["E-WEMoE", 8]["total"]) - 87_456_000 - 596_744
    assert kept / (8 * mlps) == pytest.approx(0.1, abs=1e-5)


def test_routing_is_left_as_table_and_pictures(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    routing = {
        task: TaskRouting(
            torch.rand(2, 2, generator=generator), torch.rand(2, 2, generator=generator)
        )
        for task in ("cars", "unseen")
    }
    written = write_routing(tmp_path, routing, ["cars", "dtd"], "Routing")
    assert [path.name for path in written] == ["routing.csv", "routing.png", "routing_share.png"]
    assert all(path.is_file() for path in written)
    rows = rows_of(written[0])
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        expert, block = ["cars", "dtd"].index(row["expert"]), int(row["block"])
        weights = routing[row["task"]]
        assert float(row["mean_weight"]) == weights.mean[block, expert].item()
        assert float(row["largest_share"]) == weights.largest[block, expert].item()


def test_only_tasks_with_an_expert_have_a_share_of_their_own(tmp_path: Path) -> None:
    unseen = {"unseen": TaskRouting(torch.rand(2, 2), torch.rand(2, 2))}
    written = write_routing(tmp_path, unseen, ["cars", "dtd"], "Routing")
    assert [path.name for path in written] == ["routing.csv", "routing.png"]


def test_layers_are_the_parts_of_blocks_and_what_lies_outside() -> None:
    assert [layer_of(key) for key in ("cls_token", "blocks.10.attn.qkv.bias", "norm.weight")] == [
        "cls_token", "blocks.10.attn", "norm",
    ]  # fmt: skip

"""The contract of `results.json`, and how large models are."""

import warnings
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from helpers.written_runs import bare_results
from torch import nn

from wemoe_pl.checkpoints import Backbone, save_tensors
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.baselines import Individual, PerTaskEncoder
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.reporting.results import (
    collect_results,
    mean_routing,
    parameter_counts,
    write_results,
)
from wemoe_pl.runs.results_schema import read_results_file
from wemoe_pl.system.files import sha256
from wemoe_pl.system.provenance import revision
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.metrics import never_right
from wemoe_pl.training.routing import TaskRouting

TASKS = ["cars", "dtd", "mnist"]


def test_results_keep_the_contract(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE())
    quiet_trainer().test(module, MultiTaskData(tiny_suite, test_batch_size=8), verbose=False)
    write_results(tmp_path / "results.json", collect_results(module, seed=3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of fields that the schema does not know
        results = read_results_file(tmp_path / "results.json")
    types = {
        "suite": str, "method": str, "tasks": list, "accuracy": dict, "mean": float,
        "reference": dict, "normalized_mean": float, "parameters": dict, "seconds": dict,
        "versions": dict, "seed": int, "sources": dict,
    }  # fmt: skip
    assert {key: type(results[key]) for key in types} == types
    assert (results["suite"], results["seed"]) == ("tiny", 3)
    assert results["method"] == "WEMoE, not adapted"
    assert results["own_reference"] is None
    assert results["told_task"] is False
    assert results["tasks"] == list(results["accuracy"]) == TASKS
    assert {"pretrained", "individual"} <= set(results["reference"])
    for accuracy in (results["accuracy"], *results["reference"].values()):
        assert list(accuracy) == TASKS
        assert all(0 <= value <= 1 for value in accuracy.values())
    assert results["mean"] == pytest.approx(sum(results["accuracy"].values()) / 3)
    encoder = module.classifier.encoder
    trainable = sum(p.numel() for n, p in encoder.named_parameters() if ".router." in n)
    total = sum(p.numel() for p in encoder.parameters())
    assert results["parameters"] == {"total": total, "trainable": trainable}
    assert results["sources"]["experts/cars"] == {
        "source": tiny_suite.experts["cars"],
        "sha256": sha256(Path(tiny_suite.experts["cars"])),
    }
    assert results["revision"] == revision()
    for task in TASKS:
        mean = module.routing[task].mean
        torch.testing.assert_close(torch.tensor(results["routing"][task]), mean, rtol=0, atol=1e-6)
    assert results["normalized_without"] == never_right(results["reference"]["individual"])
    assert results["seconds"]["test"] >= results["seconds"]["build"] > 0


def test_routing_that_is_not_finite_is_left_out() -> None:
    whole = TaskRouting(torch.tensor([[0.25, 0.5]]), torch.ones(1, 2))
    broken = TaskRouting(torch.tensor([[0.25, float("nan")]]), torch.ones(1, 2))
    assert mean_routing({"cars": whole, "dtd": broken}) == {"cars": [[0.25, 0.5]]}


def test_scores_that_are_no_numbers_are_left_out_and_told(tmp_path: Path) -> None:
    scores = {"cars": float("nan"), "dtd": 0.5}
    results = bare_results({"cars": 0.5, "dtd": 0.7}, information=scores)
    results["normalized_mean"] = float("inf")
    told = r"'(information\.cars|normalized_mean)' is not written .*, since it is (nan|inf)\."
    with pytest.warns(UserWarning, match=told) as warned:
        write_results(tmp_path / "results.json", results)
    assert len(warned) == 2
    left = read_results_file(tmp_path / "results.json")
    assert left["information"] == {"dtd": 0.5}
    assert left["normalized_mean"] is None


@pytest.fixture
def clip(tmp_path: Path) -> Suite:
    """A pretrained encoder with a projection, as CLIP has, and two experts."""
    sizes = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}
    backbone = Backbone("vit_base_patch32_clip_quickgelu_224", {**sizes, "num_classes": 8})
    names = ("pretrained", "cars", "dtd")
    for name in names:
        save_tensors(tmp_path / f"{name}.safetensors", backbone.build().state_dict(), {})
    files = {name: str(tmp_path / f"{name}.safetensors") for name in names}
    pretrained = files.pop("pretrained")
    tasks: dict[str, VisionTask] = {task: MiniatureTask(task) for task in files}
    return Suite("clip", backbone, pretrained, tasks, files)


def count(suite: Suite, part: str = "", but: str = "head.") -> int:
    """The weights of the pretrained encoder whose names hold `part` and do not begin with `but`."""
    named = suite.load_pretrained().named_parameters()
    return sum(p.numel() for name, p in named if part in name and not name.startswith(but))


def test_an_encoder_is_counted_without_its_projection(clip: Suite) -> None:
    merged = TaskArithmetic().merge(clip.load_pretrained(), clip.load_experts())
    assert parameter_counts(merged) == {"total": count(clip), "trainable": 0}
    everything = sum(p.numel() for p in merged.parameters())
    assert everything == count(clip) + 8 * 16 + 8


def test_what_is_fine_tuned_is_counted_without_the_projection_too(clip: Suite) -> None:
    assert parameter_counts(clip.load_pretrained()) == {
        "total": count(clip),
        "trainable": count(clip),
    }


def test_individual_experts_are_counted_all(clip: Suite) -> None:
    individual = Individual().merge(clip.load_pretrained(), clip.load_experts())
    assert parameter_counts(individual) == {"total": 2 * count(clip), "trainable": 0}


def test_of_compressed_experts_four_bytes_count_as_one_parameter(clip: Suite) -> None:
    pretrained = clip.load_pretrained()
    encoder = PerTaskEncoder(pretrained, clip.load_experts(), nbytes=4 * 1000 + 1)
    assert parameter_counts(encoder)["total"] == count(clip) + 1001


def test_a_mixture_is_the_encoder_with_an_mlp_per_expert_and_its_routers(clip: Suite) -> None:
    encoder = WEMoE().merge(clip.load_pretrained(), clip.load_experts())
    routers = sum(p.numel() for n, p in encoder.named_parameters() if ".router." in n)
    counts = parameter_counts(encoder)
    assert counts == {"total": count(clip) + 2 * count(clip, ".mlp.") + routers,
                      "trainable": routers}  # fmt: skip
    assert routers > 0


def test_heads_are_counted_where_they_are_trained(clip: Suite) -> None:
    encoder = AdaMerging("task").merge(clip.load_pretrained(), clip.load_experts())
    alone = parameter_counts(encoder)
    heads = nn.ModuleList([nn.Linear(8, 3), nn.Linear(8, 5).requires_grad_(False)])
    counts = parameter_counts(encoder, heads)
    assert counts == {name: number + 9 * 3 for name, number in alone.items()}
    assert alone["trainable"] == 2

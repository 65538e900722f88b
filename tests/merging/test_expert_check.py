"""An odd expert is warned of by name and number, by whatever merges it, without more reads."""

import subprocess
import sys
import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, shapes_of
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.expert_check import MeasuredState, remark
from wemoe_pl.merging.fisher import Fisher
from wemoe_pl.merging.regmean import RegMean
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.ties import TIES
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE, upscale
from wemoe_pl.model.architecture import Architecture

STATIC: list[MergeMethod] = [SimpleAverage(), TaskArithmetic(), TIES(), Fisher(), RegMean()]
ADAPTED: list[MergeMethod] = [AdaMerging(), AdaMerging("task", keep=0.2), WEMoE(), EWEMoE()]


@pytest.fixture
def tuned(pretrained: nn.Module) -> nn.Module:
    """An expert that is near the pretrained encoder."""
    expert = deepcopy(pretrained)
    with torch.no_grad():
        for weight in expert.parameters():
            weight.mul_(1.03)
    return expert


def distance(expert: Mapping[str, Tensor], pretrained: Mapping[str, Tensor]) -> float:
    """‖θ − θ₀‖ ÷ ‖θ₀‖ in double precision."""
    ours, theirs = (
        torch.cat([state[key].double().flatten() for key in pretrained])
        for state in (expert, pretrained)
    )
    return ((ours - theirs).norm() / theirs.norm()).item()


# --- what is told ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", [*STATIC, *ADAPTED], ids=repr)
def test_odd_experts_are_told_by_name_and_number(
    method: MergeMethod, pretrained: nn.Module, tuned: nn.Module, experts: dict[str, nn.Module]
) -> None:
    given = {"copy": deepcopy(pretrained), "near": tuned, "other": experts["dtd"]}
    apart = distance(experts["dtd"].state_dict(), pretrained.state_dict())
    with pytest.warns(UserWarning, match="Expert") as caught:
        method.merge(pretrained, given)
    assert {str(warning.message) for warning in caught} == {
        "Expert 'copy' is the pretrained encoder itself, and adds nothing to it.",
        f"Expert 'other' differs from the pretrained encoder by {apart:.0%} of its norm: was it "
        "fine-tuned from that one?",
    }


def test_upscale_tells_of_experts_without_names_by_their_number(pretrained: nn.Module) -> None:
    with pytest.warns(UserWarning, match=r"Expert '0' is the pretrained encoder itself"):
        upscale(pretrained, [pretrained])


@pytest.mark.parametrize("method", [*STATIC, *ADAPTED], ids=repr)
def test_of_experts_that_were_fine_tuned_nothing_is_said(
    method: MergeMethod, pretrained: nn.Module, tuned: nn.Module
) -> None:
    partly = deepcopy(pretrained)
    with torch.no_grad():
        partly.get_parameter("blocks.1.mlp.fc2.bias")[0] += 1e-3  # everything else is frozen
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.merge(pretrained, {"tuned": tuned, "partly": partly})


@pytest.mark.parametrize("method", [Pretrained(), Individual()], ids=repr)
def test_what_merges_nothing_tells_nothing(method: MergeMethod, pretrained: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.merge(pretrained, {"copy": pretrained})


def test_a_job_that_merges_by_several_methods_tells_it_once(pretrained: nn.Module) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for method in (WEMoE(), TaskArithmetic(), WEMoE()):
            method.merge(pretrained, {"copy": pretrained})
    assert len(caught) == 1


def test_an_architecture_without_weights_yet_tells_nothing() -> None:
    options: dict[str, Any] = {"img_size": 32, "embed_dim": 16, "depth": 1, "num_heads": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Architecture("vit_tiny_patch16_224", options, experts=2).build()
        with torch.device("meta"):
            Architecture("vit_tiny_patch16_224", options, experts=2).build()


# --- how it is measured ----------------------------------------------------------------------


def test_every_tensor_is_read_when_asked_for_and_measured_once() -> None:
    pretrained = {"w": torch.tensor([3.0, 4.0]), "b": torch.zeros(2), "steps": torch.tensor(7)}
    expert = {"w": torch.tensor([3.0, 5.0]), "b": torch.ones(2), "steps": torch.tensor(9)}
    read: list[str] = []
    found: list[float] = []

    def noted(key: str) -> Tensor:
        read.append(key)
        return expert[key]

    state = MeasuredState(LazyState(shapes_of(expert), noted), pretrained, found.append)
    assert read == []
    for key in ("w", "w", "b"):
        assert torch.equal(state[key], expert[key])
    assert found == []
    _ = state["steps"]
    assert read == ["w", "w", "b", "steps"]
    assert found == [pytest.approx(3**0.5 / 5)]
    assert dict(state).keys() == expert.keys()
    assert len(found) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_is_measured_in_single_precision(dtype: torch.dtype) -> None:
    pretrained = {"w": torch.full((100_000,), 200.0, dtype=dtype)}  # whose squares overflow
    found: list[float] = []
    _ = MeasuredState({"w": torch.full((100_000,), 202.0)}, pretrained, found.append)["w"]
    assert found == [pytest.approx(0.01, rel=1e-3)]


def test_of_weights_that_are_all_zero_a_distance_is_told() -> None:
    found: list[float] = []
    _ = MeasuredState({"w": torch.ones(4)}, {"w": torch.zeros(4)}, found.append)["w"]
    assert found == [2.0]


@pytest.mark.parametrize("apart", [1e-9, 0.02, 0.5])
def test_experts_that_are_near_are_not_odd(apart: float) -> None:
    assert remark("It", apart) == ""


MANY_EXPERTS = """
from copy import deepcopy
from pathlib import Path
from torch import nn
from wemoe_pl.checkpoints import LazyState
from wemoe_pl import TaskArithmetic

layers = [nn.Linear(512, 2048), nn.Linear(2048, 512), nn.LayerNorm(512)] * 3
pretrained = nn.Sequential(*map(deepcopy, layers))
stored = {name: weight.half() for name, weight in pretrained.state_dict().items()}
shapes = {name: weight.shape for name, weight in stored.items()}

def held():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024

def merge(count):
    read = lambda key: stored[key].clone().float()
    experts = {f"task{i}": LazyState(shapes, read) for i in range(count)}
    TaskArithmetic().merge(pretrained, experts)
    return held()

print(merge(2), merge(16))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Only Linux tells memory there.")
def test_many_experts_take_the_memory_of_few() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MANY_EXPERTS],
        check=True,
        capture_output=True,
        text=True,
    )
    few, many = map(int, done.stdout.split())
    assert many - few < 3 * 25e6  # three models, after fourteen more experts were read

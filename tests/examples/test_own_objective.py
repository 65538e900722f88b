"""The objective of the example does on the miniature what its docstring says."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from wemoe_pl import WEMoE
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.training.objectives.outputs import AdaptationOutputs

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_objective.py"
OWN_LINES = 30  # of a user's, without imports, comments and blank lines


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def test_it_is_short() -> None:
    lines = EXAMPLE.read_text().split("@dataclass")[1].split("def main")[0].splitlines()
    assert len([line for line in lines if line.strip()]) <= OWN_LINES


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_the_loss_is_the_distance_from_the_expert(example: dict[str, Any], power: float) -> None:
    generator = torch.Generator().manual_seed(1)
    ours, theirs = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    expected = sum(
        abs(a - b) ** power
        for own, expert in zip(ours.tolist(), theirs.tolist(), strict=True)
        for a, b in zip(own, expert, strict=True)
    )
    outputs = AdaptationOutputs("cars", ours, {"expert_logits": theirs})
    assert example["LogitMatching"](power)(outputs).item() == pytest.approx(expected / 20)


def test_adaptation_by_it_beats_the_merge_it_began_with(example: dict[str, Any]) -> None:
    torch.manual_seed(0)
    before = example["main"](steps=0)
    after = example["main"](steps=12)
    assert before.keys() == after.keys() == {"cars", "eurosat", "mnist"}
    assert sum(after.values()) > sum(before.values())


def test_the_page_on_objectives_does_what_it_says(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    page = (ROOT / "docs" / "extending.md").read_text().partition("# An objective of your own")[2]
    names: dict[str, Any] = {}
    for snippet in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(snippet, names)
    module = names["adaptation"](tiny_suite)
    assert module.objective == names["LogitMatching"](1.0)
    worst = names["Worst"](tiny_suite, WEMoE())
    for made in (module, worst):
        trainer = quiet_trainer(max_steps=1)
        trainer.fit(made, MultiTaskData(tiny_suite, batch_size=2))
        assert trainer.global_step == 1

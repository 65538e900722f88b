"""A sum of objectives is what its parts come to one by one, in a step, in files and as text."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from torch import Tensor, nn

from wemoe_pl.cli.main import main
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.recipe import describe
from wemoe_pl.runs.results_schema import read_results_file
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.objectives.base import Objective, needs_of
from wemoe_pl.training.objectives.distillation import Distillation, FeatureMatching
from wemoe_pl.training.objectives.entropy import Entropy, InformationMaximisation
from wemoe_pl.training.objectives.expert_labels import ExpertLabels
from wemoe_pl.training.objectives.outputs import AdaptationOutputs
from wemoe_pl.training.objectives.weighted_sum import WeightedSum

NESTED = WeightedSum(
    [InformationMaximisation(), WeightedSum([Distillation(4.0), FeatureMatching()])], [1.0, 0.25]
)


def drawn_outputs() -> AdaptationOutputs:
    generator = torch.Generator().manual_seed(5)
    logits, theirs = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    features, expert_features = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    needed: Any = {
        "expert_logits": theirs,
        "features": features.requires_grad_(),
        "expert_features": expert_features,
    }
    return AdaptationOutputs("dtd", logits.requires_grad_(), needed)


def test_a_sum_is_that_of_its_parts_and_of_their_gradients() -> None:
    parts = [Entropy(), ExpertLabels(), Distillation(), FeatureMatching()]
    weights = [0.5, 0.0, 2.0, 3.0]
    outputs = drawn_outputs()
    found = WeightedSum(parts, weights)(outputs)
    expected, gradient = 0.0, torch.zeros(6, 4, dtype=torch.float64)
    for part, weight in zip(parts, weights, strict=True):
        alone = drawn_outputs()
        loss = part(alone)
        expected += weight * loss.item()
        [own] = torch.autograd.grad(loss, [alone.logits], allow_unused=True)
        gradient += 0 if own is None else weight * own
    assert found.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(torch.autograd.grad(found, outputs.logits)[0], gradient)


def test_weights_are_one_where_none_are_given() -> None:
    outputs = drawn_outputs()
    expected = Entropy()(outputs) + Distillation()(outputs)
    torch.testing.assert_close(WeightedSum([Entropy(), Distillation()])(outputs), expected)


def test_sums_may_be_nested() -> None:
    outputs = drawn_outputs()
    inner = Distillation(4.0)(outputs) + FeatureMatching()(outputs)
    expected = InformationMaximisation()(outputs) + 0.25 * inner
    torch.testing.assert_close(NESTED(outputs), expected)


def test_a_sum_needs_what_its_parts_need() -> None:
    assert needs_of(NESTED) == {"expert_logits", "features", "expert_features"}
    assert needs_of(WeightedSum([Entropy()])) == frozenset()
    assert WeightedSum([Entropy(), InformationMaximisation()]).least_images == 2
    assert WeightedSum([Entropy(), InformationMaximisation(0.0)]).least_images == 1
    assert NESTED.least_images == 2


class Learned(nn.Module, Objective):
    """A module that is an objective, with a weight that could be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs: AdaptationOutputs) -> Tensor:
        return self.scale * outputs.logits.mean()


class Needing(Objective):
    """Needs what there is not."""

    needs = ("labels",)  # type: ignore[assignment]

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        return outputs.logits.mean()


@pytest.mark.parametrize(
    ("parts", "weights", "complaint"),
    [
        ([], None, r"^objectives is empty: give at least one objective\.$"),
        ([], [], r"^objectives is empty"),
        ([Entropy()], [], "^weights has length 0, and objectives 1: give a weight for each, or"),
        ([Entropy()], [1.0, 2.0], "^weights has length 2, and objectives 1"),
        ([Entropy()], [-0.5], r"^weights has -0\.5: give finite numbers from 0\.$"),
        ([Entropy(), Entropy()], [1.0, math.nan], r"^weights has nan"),
        ([Entropy()], [math.inf], r"^weights has inf"),
        ([Entropy], None, "^Entropy is not an objective: give an object"),
        ([Learned()], None, "^The objective Learned has trainable weights"),
    ],
)
def test_what_is_no_sum_is_refused(parts: Any, weights: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        WeightedSum(parts, weights)


def test_a_need_of_a_part_that_there_is_not_is_named() -> None:
    with pytest.raises(
        ConfigError, match="The objective Needing needs 'labels', which does not exist"
    ):
        needs_of(WeightedSum([Entropy(), Needing()]))


class Blank(Objective):
    """Returns no scalar."""

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        return outputs.logits


def test_the_part_that_returns_no_loss_is_named() -> None:
    with pytest.raises(ConfigError, match="The objective Blank returned a tensor of shape"):
        WeightedSum([Entropy(), Blank()])(drawn_outputs())


# --- in files --------------------------------------------------------------------------------


def test_a_checkpoint_holds_it_with_its_parts(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), objective=NESTED, references=False)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, MultiTaskData(tiny_suite, batch_size=2))
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    again = TestTimeAdaptation.load_from_checkpoint(tmp_path / "own.ckpt")
    assert again.objective == NESTED
    assert describe(NESTED)["init_args"]["objectives"][1]["class_path"] == "wemoe_pl.WeightedSum"


OBJECTIVE = f"""
model:
  init_args:
    objective: {yaml.safe_dump(describe(NESTED), default_flow_style=True)}
"""


def test_it_goes_through_a_config_a_run_and_its_resumption(
    tiny_suite_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "sum.yaml"
    config.write_text(OBJECTIVE)
    job = ["--suite", str(tiny_suite_yaml), "--data.batch_size", "2", "--trainer.accelerator",
           "cpu", "--quiet", "--model.references", "false"]  # fmt: skip
    first = ["fit", "--config", "adapt_miniature", "--config", str(config), *job]
    assert main([*first, "--trainer.max_steps", "2", "--out", str(tmp_path / "a")]) == 0
    dumped = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert dumped["model"]["init_args"]["objective"] == describe(NESTED)
    results = read_results_file(tmp_path / "a" / "results.json")
    capsys.readouterr()
    # The run's own config says the same, and the run is known to be finished.
    again = ["fit", "--config", str(tmp_path / "a" / "config.yaml"), "--out", str(tmp_path / "a")]
    assert main(again) == 0
    assert read_results_file(tmp_path / "a" / "results.json") == results
    # Other weights are another run.
    other = [*first, "--trainer.max_steps", "2", "--out", str(tmp_path / "a")]
    assert main([*other, "--model.objective.weights", "[1.0, 0.5]"]) != 0
    assert "objective.init_args.weights was [1.0, 0.25] and is now [1.0, 0.5]" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ("[1.0]", "weights has length 1, and objectives 2"),
        ("[1.0, -1.0]", "weights has -1.0: give finite numbers from 0."),
    ],
)
def test_a_config_of_wrong_weights_is_refused_in_one_sentence(
    tiny_suite_yaml: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    weights: str,
    complaint: str,
) -> None:
    config = tmp_path / "sum.yaml"
    config.write_text(OBJECTIVE)
    job = ["fit", "--config", "adapt_miniature", "--config", config, "--suite", tiny_suite_yaml,
           "--model.objective.weights", weights, "--out", tmp_path / "b"]  # fmt: skip
    assert main([str(word) for word in job]) != 0
    [line] = capsys.readouterr().err.strip().splitlines()
    assert complaint in line


def test_the_help_tells_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    job = ["fit", "--config", "adapt_miniature"]
    with pytest.raises(SystemExit) as ended:
        main([*job, "--model.init_args.objective.help", "WeightedSum"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "one or more, which may be sums themselves" in text
    assert "of each, from 0; by default all are 1" in text

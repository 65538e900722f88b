"""An expert teaches its task if it is certain about the images, and another objective if not."""

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
from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.recipe import describe
from wemoe_pl.runs.results_schema import read_results_file
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.experts import ExpertAnswers
from wemoe_pl.training.objectives.base import Objective, needs_of
from wemoe_pl.training.objectives.distillation import Distillation, FeatureMatching
from wemoe_pl.training.objectives.entropy import Entropy, InformationMaximisation
from wemoe_pl.training.objectives.expert_labels import ExpertLabels
from wemoe_pl.training.objectives.outputs import AdaptationOutputs
from wemoe_pl.training.objectives.trusted_experts import TrustedExperts, note_on_experts
from wemoe_pl.training.objectives.weighted_sum import WeightedSum

NewTrainer = Callable[..., L.Trainer]


def drawn_outputs(shift: float) -> AdaptationOutputs:
    generator = torch.Generator().manual_seed(5)
    logits, theirs = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    shifts = torch.full((6,), shift, dtype=torch.float64)
    needed: Any = {"expert_logits": theirs, "expert_shift": shifts}
    return AdaptationOutputs("dtd", logits.requires_grad_(), needed)


@pytest.mark.parametrize(("shift", "is_trusted"), [(-0.1, True), (0.3, True), (0.31, False)])
def test_the_loss_is_that_of_one_of_its_parts(shift: float, is_trusted: bool) -> None:
    parts = ExpertLabels(), InformationMaximisation(0.5)
    outputs = drawn_outputs(shift)
    part: Objective = parts[0] if is_trusted else parts[1]
    found = TrustedExperts(*parts, shift=0.3)(outputs)
    torch.testing.assert_close(found, part(outputs), rtol=0, atol=0)


def test_it_needs_what_its_parts_need() -> None:
    both = TrustedExperts(FeatureMatching(), InformationMaximisation())
    assert needs_of(both) == {"features", "expert_features", "expert_shift"}
    assert both.least_images == 2
    assert TrustedExperts(otherwise=Entropy()).least_images == 1


@pytest.mark.parametrize("shift", [-1.1, 1.5, math.nan])
def test_a_share_out_of_range_is_refused(shift: float) -> None:
    with pytest.raises(ConfigError, match=r"shift is .*: give a number from -1 to 1\."):
        TrustedExperts(shift=shift)


def test_a_part_that_is_no_objective_is_refused() -> None:
    with pytest.raises(ConfigError, match="Entropy is not an objective: give an object"):
        TrustedExperts(Entropy)  # type: ignore[arg-type]


def test_the_note_names_the_tasks_that_are_not_taught() -> None:
    found = {"cars": 0.2, "dtd": 0.07, "mnist": 0.9}
    note = note_on_experts(WeightedSum([Entropy(), TrustedExperts()]), found)
    assert note.endswith(
        "by more than 0.07 log C, and are not learned from: cars 0.20, mnist 0.90."
    )
    assert note_on_experts(TrustedExperts(shift=0.9), found) == ""
    assert note_on_experts(Distillation(), found) == ""


def uncertainty_of(suite: Suite, task: str, images: Tensor) -> float:
    """The slow reference, in double precision, image by image."""
    encoder = suite.load_pretrained()
    encoder.load_state_dict(dict(suite.load_experts()[task]))
    model = nn.Sequential(encoder, suite.load_head(task)).double().eval()
    shares = []
    for image in images:
        probabilities = model(image[None].double())[0].softmax(dim=0)
        shares.append(-(probabilities * probabilities.log()).sum() / math.log(len(probabilities)))
    return torch.stack(shares).mean().item()


@torch.no_grad()
def test_the_shift_is_the_increase_of_the_mean_entropy_of_each_expert(tiny_suite: Suite) -> None:
    drawn = torch.Generator().manual_seed(0)
    sets = [
        {task: torch.randn(count, 3, 28, 28, generator=drawn) for task in tiny_suite.tasks}
        for count in (70, 5)
    ]
    experts = ExpertAnswers(tiny_suite, torch.empty(0), wanted=["expert_shift"])
    experts.judge(*sets)
    for task in tiny_suite.tasks:
        ours, known = (uncertainty_of(tiny_suite, task, images[task]) for images in sets)
        assert experts.shift[task] == pytest.approx(ours - known, abs=1e-5)
    answers = experts({"dtd": sets[0]["dtd"][:3]})
    [(need, of_tasks)] = answers.items()
    assert need == "expert_shift"
    assert of_tasks["dtd"].tolist() == pytest.approx([experts.shift["dtd"]] * 3)


def fitted(suite: Suite, trainer: L.Trainer, objective: Objective) -> TestTimeAdaptation:
    torch.manual_seed(0)
    module = TestTimeAdaptation(
        suite, WEMoE(), objective=objective, references=False, learning_rate=0.1
    )
    trainer.fit(module, MultiTaskData(suite, batch_size=4, compare_with="train"))
    return module


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_a_run_learns_as_by_one_of_its_parts(
    tiny_suite: Suite, quiet_trainer: NewTrainer, shift: float
) -> None:
    parts = Distillation(), InformationMaximisation()
    both = TrustedExperts(*parts, shift=shift)
    found = fitted(tiny_suite, quiet_trainer(max_steps=3), both)
    alone = fitted(tiny_suite, quiet_trainer(max_steps=3), parts[shift < 0])
    torch.testing.assert_close(found.state_dict(), alone.state_dict(), rtol=0, atol=0)
    assert ("cars" in found.expert_note) == (shift < 0)


def test_experts_cannot_be_judged_without_images_to_compare_with(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    batches = [{task: (torch.zeros(2, 3, 28, 28), torch.zeros(2)) for task in tiny_suite.tasks}]
    module = TestTimeAdaptation(tiny_suite, WEMoE(), objective=TrustedExperts())
    with pytest.raises(ConfigError, match=r"set data\.compare_with to train, or choose another"):
        quiet_trainer(max_steps=1).fit(module, batches)
    with pytest.raises(ConfigError, match=r"set data\.compare_with to train, or choose another"):
        quiet_trainer(max_steps=1).fit(module, MultiTaskData(tiny_suite, batch_size=4))


def test_the_stream_is_not_compared_with_itself(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"compare_with is test, and data\.stream has the same"):
        MultiTaskData(tiny_suite, compare_with="test")
    corrupted = Corruption("contrast", 2)
    clean = MultiTaskData(tiny_suite, compare_with="test", corruption=corrupted)
    assert {images.corruption for images in clean.sets.compared.values()} == {None}
    assert set(clean.sets.identities("fit")) > set(clean.sets.identities("test"))


def test_tasks_that_are_not_announced_have_no_experts_to_judge(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), objective=TrustedExperts(), announced=False)
    with pytest.raises(ConfigError, match="experts are judged by images of known tasks"):
        quiet_trainer(max_steps=1).fit(module, MultiTaskData(tiny_suite, batch_size=4))


def test_a_run_says_which_experts_were_not_trusted(
    tiny_suite_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, config = tmp_path / "run", tmp_path / "trusted.yaml"
    objective = TrustedExperts(shift=-1.0)
    config.write_text(yaml.safe_dump({"model": {"init_args": {"objective": describe(objective)}}}))
    job = ["fit", "--config", "adapt_miniature", "--config", str(config),
           "--suite", str(tiny_suite_yaml), "--data.batch_size", "2",
           "--data.compare_with", "train", "--model.references", "false",
           "--trainer.max_steps", "2", "--trainer.accelerator", "cpu"]  # fmt: skip
    assert main([*job, "--out", str(out)]) == 0
    results = read_results_file(out / "results.json")
    assert "Some experts are less certain about these images" in results["stream"]
    assert results["stream"] in (out / "summary.md").read_text()
    again = ["fit", "--config", str(out / "config.yaml"), "--out", str(out)]
    capsys.readouterr()
    assert main(again) == 0
    assert "finished" in capsys.readouterr().err

"""Fisher merging and RegMean through the trainer, against the same sums made by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from safetensors import safe_open

from wemoe_pl.checkpoints import encoder_state
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.streams import StepBatches
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask
from wemoe_pl.errors import ConfigError, DataError
from wemoe_pl.export.loading import load
from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.fisher import Fisher
from wemoe_pl.merging.from_samples import SampleMethod
from wemoe_pl.merging.regmean import RegMean
from wemoe_pl.merging.regmean_plus_plus import RegMeanPlusPlus
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.sample_merging import SampleMerging

NewTrainer = Callable[..., L.Trainer]
METHODS = pytest.mark.parametrize("method", [Fisher(), RegMean(), RegMeanPlusPlus()], ids=repr)
STEPS, BATCH = 3, 4


def fitted(
    suite: Suite, trainer: L.Trainer, method: SampleMethod, stream: Any = "train", **options: Any
) -> SampleMerging:
    module = SampleMerging(suite, method, **options)
    data = MultiTaskData(suite, stream=stream, batch_size=BATCH, test_batch_size=20)
    trainer.fit(module, data)
    return module


@METHODS
def test_a_fit_sums_over_the_samples_of_all_steps(
    method: SampleMethod, tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = fitted(tiny_suite, quiet_trainer(max_steps=STEPS), method)
    pretrained, experts = tiny_suite.load_pretrained(), tiny_suite.load_experts()
    sums = method.start(pretrained, experts)
    data = MultiTaskData(tiny_suite, stream="train", batch_size=BATCH)
    batches = {t: data.sets.load(ImageSet(t, "train")) for t in experts}
    stream = StepBatches(batches, BATCH, len(batches), seed=0)
    for step in range(STEPS):
        for task, (images, labels) in stream[step].items():
            expert = tiny_suite.load_pretrained()
            expert.load_state_dict(dict(experts[task]))
            sums.add(task, expert, tiny_suite.load_head(task), images, labels)
    expected = sums.solve(method.merge(pretrained, experts).state_dict())
    actual = module.classifier.encoder.state_dict()
    for name, weight in expected.items():
        torch.testing.assert_close(actual[name], weight, rtol=1e-4, atol=1e-6)
    average = SimpleAverage().merge(pretrained, experts).state_dict()
    assert any(not torch.allclose(actual[name], average[name]) for name in expected)


@METHODS
def test_a_run_is_scored_used_and_loaded_again_from_what_it_leaves(
    method: SampleMethod, tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    trainer = quiet_trainer(max_steps=STEPS)
    module = fitted(tiny_suite, trainer, method)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    module.export(tmp_path, {"a": 1}, seed=3)
    data = MultiTaskData(tiny_suite, test_batch_size=20)
    trainer.test(module, data, verbose=False)
    again = SampleMerging(tiny_suite, method)
    quiet_trainer().test(again, data, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    for key in ("accuracy", "information", "reference"):
        assert again.test_results[key] == module.test_results[key]
    images = torch.randn(2, 3, 28, 28)
    expected = module.classifier(images, "cars")
    torch.testing.assert_close(load(tmp_path / "last.ckpt")(images, "cars"), expected)
    plain = tiny_suite.load_pretrained()
    source = str(tmp_path / "encoder.safetensors")
    plain.load_state_dict(dict(encoder_state(source, tiny_suite.backbone)))
    torch.testing.assert_close(plain(images), module.classifier.encode(images))
    with safe_open(source, "pt") as file:
        assert json.loads(file.metadata()["recipe"]) == {"a": 1}
        assert file.metadata()["seed"] == "3"


def test_a_validation_scores_what_the_samples_so_far_lead_to(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    seen = []

    class Noted(SampleMerging):
        def on_validation_epoch_end(self) -> None:
            super().on_validation_epoch_end()
            seen.append(self.classifier.encoder.state_dict()["blocks.0.mlp.fc1.weight"].clone())

    data = MultiTaskData(tiny_suite, stream="train", batch_size=BATCH)
    quiet_trainer(max_steps=4, val_check_interval=2).fit(Noted(tiny_suite, RegMean()), data)
    two = fitted(tiny_suite, quiet_trainer(max_steps=2), RegMean())
    weights = two.classifier.encoder.state_dict()["blocks.0.mlp.fc1.weight"]
    torch.testing.assert_close(seen[0], weights)
    assert not torch.allclose(seen[0], seen[1])


@pytest.fixture
def unlabelled(tiny_suite: Suite, tmp_path: Path) -> Suite:
    """The tiny suite, whose cars are images without labels."""
    images = tiny_suite.task("cars").images("test")
    for i in range(4):
        images[i][0].save(tmp_path / f"{i}.png")
    cars = ImageFolderTask(test=str(tmp_path), labelled=False)
    return replace(tiny_suite, tasks=tiny_suite.tasks | {"cars": cars})


def test_regmean_takes_unlabelled_images_and_fisher_refuses_them(
    unlabelled: Suite, quiet_trainer: NewTrainer
) -> None:
    module = fitted(unlabelled, quiet_trainer(max_steps=1), RegMean(), stream="test")
    assert module.solved
    with pytest.raises(DataError, match="Fisher Merging needs labelled samples, but those of 'car"):
        fitted(unlabelled, quiet_trainer(max_steps=1), Fisher(), stream="test")


@METHODS
def test_without_a_fit_nothing_is_scored_or_answered(
    method: SampleMethod, tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    data = MultiTaskData(tiny_suite, images=str(tmp_path))
    tiny_suite.task("cars").images("test")[0][0].save(tmp_path / "a.png")
    for stage in ("test", "predict"):
        with pytest.raises(ConfigError, match="computes its weights from samples: run `wemoe-pl"):
            getattr(quiet_trainer(), stage)(SampleMerging(tiny_suite, method), data)


def test_a_fit_is_not_resumed(tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path) -> None:
    trainer = quiet_trainer(max_steps=1)
    fitted(tiny_suite, trainer, RegMean())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    data = MultiTaskData(tiny_suite, stream="train")
    with pytest.raises(ConfigError, match="A fit of RegMean cannot be resumed"):
        quiet_trainer(max_steps=2).fit(
            SampleMerging(tiny_suite, RegMean()), data, ckpt_path=tmp_path / "last.ckpt"
        )


def test_samples_are_summed_over_on_one_device(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module, two = SampleMerging(tiny_suite, RegMean()), quiet_trainer(max_steps=1, devices=2)
    module.trainer = two
    with pytest.raises(ConfigError, match=r"RegMean sums .* in one process: set trainer\.devices"):
        module.on_fit_start()


def test_a_run_has_an_end(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    with pytest.raises(ConfigError, match="Give the number of steps"):
        fitted(tiny_suite, quiet_trainer(max_steps=-1), RegMean())


def test_adaptation_refuses_a_method_that_needs_samples(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match="RegMean computes its weights from samples: set model"):
        TestTimeAdaptation(tiny_suite, RegMean())


def test_every_task_gives_as_many_samples(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    data = MultiTaskData(tiny_suite, stream="train", proportions={"cars": 1.0, "dtd": 2.0})
    with pytest.raises(ConfigError, match=r"leave out data\.proportions\.$"):
        quiet_trainer(max_steps=1).fit(SampleMerging(tiny_suite, RegMean()), datamodule=data)

"""The answers of experts are those of each alone, computed once where images are known again."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.origins import Origins
from wemoe_pl.data.streams import Seen
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.experts import OF_EXPERTS, PER_IMAGE, ExpertAnswers, origins_of
from wemoe_pl.training.objectives.distillation import Distillation
from wemoe_pl.training.objectives.outputs import Need

NewTrainer = Callable[..., L.Trainer]
LIKE = torch.empty(0)


class Counting(ExpertAnswers):
    """Notes how many images each expert is shown at a time."""

    shown: dict[str, list[int]]

    def ask(self, task: str, images: Tensor) -> dict[Need, Tensor]:
        self.__dict__.setdefault("shown", {}).setdefault(task, []).append(len(images))
        return super().ask(task, images)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    """The experts that adaptations have asked."""
    made: list[Counting] = []

    def make(*arguments: Any) -> Counting:
        made.append(Counting(*arguments))
        return made[-1]

    monkeypatch.setattr("wemoe_pl.training.adapt.ExpertAnswers", make)
    return made


def alone(suite: Suite, task: str, images: Tensor) -> dict[Need, Tensor]:
    """What an expert makes of each image by itself."""
    encoder = suite.load_pretrained()
    encoder.load_state_dict(dict(suite.load_experts()[task]))
    encoder, head = encoder.to(images), suite.load_head(task).to(images)
    features = torch.cat([encoder(image[None]) for image in images]).detach()
    return {"expert_features": features, "expert_logits": head(features).detach()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("wanted", [{"expert_logits"}, {"expert_features"}, PER_IMAGE])
def test_every_task_is_answered_by_its_own_expert(
    tiny_suite: Suite, dtype: torch.dtype, wanted: frozenset[Need]
) -> None:
    answers = ExpertAnswers(tiny_suite, torch.empty(0, dtype=dtype), wanted=wanted)
    images = {task: torch.randn(2, 3, 28, 28, dtype=dtype) for task in ("mnist", "cars")}
    found = answers(images)
    assert found.keys() == wanted
    for task, batch in images.items():
        right = alone(tiny_suite, task, batch)
        for need in wanted:
            torch.testing.assert_close(found[need][task], right[need])
            assert not found[need][task].requires_grad


def test_experts_take_the_memory_of_one_encoder_when_they_are_asked(tiny_suite: Suite) -> None:
    answers = ExpertAnswers(tiny_suite, LIKE)
    assert answers._experts is None
    size = sum(p.numel() for p in tiny_suite.load_pretrained().parameters())
    assert sum(p.numel() for p in answers.experts.encoder.parameters()) == size
    answers.let_go()
    assert answers._experts is None


def test_building_the_experts_draws_from_no_stream_of_the_run(tiny_suite: Suite) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    _ = ExpertAnswers(tiny_suite, LIKE).experts
    assert torch.equal(torch.rand(2), expected)


def test_a_task_without_an_expert_is_named(tiny_suite: Suite) -> None:
    suite = replace(tiny_suite, experts={"cars": tiny_suite.experts["cars"]})
    answers = ExpertAnswers(suite, LIKE)
    with pytest.raises(ConfigError, match="expert for 'dtd', but the suite has none"):
        answers({"cars": torch.zeros(1, 3, 28, 28), "dtd": torch.zeros(1, 3, 28, 28)})
    assert answers.classes("dtd", torch.zeros(1, 3, 28, 28)) is None


# --- images that come again ------------------------------------------------------------------


def known(origins: Origins, images: Tensor, places: list[int], name: str = "a set") -> Tensor:
    """Some of a set of images, as a tensor that is known."""
    some = images[places]
    origins.note(some, Seen(name, places, [1] * len(places)))
    return some


def test_an_image_is_shown_to_its_expert_once(tiny_suite: Suite) -> None:
    images, origins = torch.randn(8, 3, 28, 28), Origins()
    answers = Counting(tiny_suite, LIKE, origins, OF_EXPERTS)
    right = alone(tiny_suite, "cars", images)
    for places in ([0, 1, 2], [2, 1], [1, 3, 0, 4], [5, 5], [7, 6, 5, 4, 3, 2, 1, 0]):
        found = answers({"cars": known(origins, images, places)})
        for need, expected in right.items():
            torch.testing.assert_close(found[need]["cars"], expected[places])
    assert answers.shown == {"cars": [3, 2, 1, 2]}
    answers.let_go()
    answers({"cars": known(origins, images, [4, 4, 7])})
    assert answers._experts is None


def test_sets_and_tasks_are_told_apart(tiny_suite: Suite) -> None:
    images, origins = torch.randn(4, 3, 28, 28), Origins()
    answers = Counting(tiny_suite, LIKE, origins)
    corrupted = images.flip(0)
    for task in ("cars", "mnist"):
        for _ in range(2):
            for name, some in {"clean": images, "corrupted": corrupted}.items():
                found = answers.of_task(task, known(origins, some, [0, 1], name))
                expected = alone(tiny_suite, task, some[:2])["expert_logits"]
                torch.testing.assert_close(found["expert_logits"], expected)
    assert answers.shown == {"cars": [2, 2], "mnist": [2, 2]}


def test_images_that_are_not_known_are_shown_whenever_they_come(tiny_suite: Suite) -> None:
    images, origins = torch.randn(4, 3, 28, 28), Origins()
    answers = Counting(tiny_suite, LIKE, origins)
    some = known(origins, images, [0, 1])
    first = answers.of_task("cars", some)["expert_logits"]
    some.mul_(2.0)  # as a transform of one's own may do
    second = answers.of_task("cars", some)["expert_logits"]
    torch.testing.assert_close(second, alone(tiny_suite, "cars", 2 * images[:2])["expert_logits"])
    assert not torch.allclose(first, second)
    answers.of_task("cars", some)
    assert answers.shown == {"cars": [2, 2, 2]}


def test_classes_of_a_validation_may_be_asked_for_again(tiny_suite: Suite) -> None:
    images, origins = torch.randn(5, 3, 28, 28), Origins()
    answers = Counting(tiny_suite, LIKE, origins)
    expected = alone(tiny_suite, "mnist", images)["expert_logits"].argmax(dim=-1)
    for _ in range(2):
        with torch.inference_mode():
            found = answers.classes("mnist", known(origins, images, [4, 0, 2]))
        answers.let_go()
        assert found is not None
        assert torch.equal(found, expected[[4, 0, 2]])
    assert answers.shown == {"mnist": [3]}


# --- in an adaptation ------------------------------------------------------------------------


def fitted(suite: Suite, trainer: L.Trainer, data: MultiTaskData | None) -> TestTimeAdaptation:
    torch.manual_seed(0)
    module = TestTimeAdaptation(suite, WEMoE(), 0.01, objective=Distillation(), references=False)
    loaders = None if data else MultiTaskData(suite, batch_size=8)
    if loaders is not None:
        loaders.trainer = trainer
        trainer.fit(module, train_dataloaders=loaders.train_dataloader())
    else:
        trainer.fit(module, datamodule=data)
    return module


def images_shown(counted: list[Counting]) -> dict[str, int]:
    [answers] = counted
    return {task: sum(sizes) for task, sizes in answers.shown.items()}


@pytest.mark.parametrize("corruption", [None, Corruption("contrast", 1)])
@pytest.mark.parametrize("at_once", [1, 3])
def test_each_image_of_a_stream_is_shown_once(
    tiny_suite: Suite,
    quiet_trainer: NewTrainer,
    counted: list[Counting],
    corruption: Corruption | None,
    at_once: int,
) -> None:
    tasks = tuple(tiny_suite.tasks)
    trainer = quiet_trainer(max_steps=6, accumulate_grad_batches=len(tasks) // at_once)
    options = {"tasks_per_batch": at_once, "corruption": corruption}
    fitted(tiny_suite, trainer, MultiTaskData(tiny_suite, batch_size=8, **options))  # type: ignore[arg-type]
    assert images_shown(counted) == dict.fromkeys(tasks, 20)  # of which 48 came


def routers(module: TestTimeAdaptation) -> Mapping[str, Tensor]:
    return {name: weight.detach() for name, weight in module.trained_parameters().items()}


def test_what_is_kept_is_learned_from_as_what_is_computed(
    tiny_suite: Suite, quiet_trainer: NewTrainer, counted: list[Counting]
) -> None:
    data = MultiTaskData(tiny_suite, batch_size=8)
    kept = fitted(tiny_suite, quiet_trainer(max_steps=6), data)
    computed = fitted(tiny_suite, quiet_trainer(max_steps=6), None)  # of loaders alone
    keeping, computing = counted
    assert sum(keeping.shown["cars"]) == 20
    assert sum(computing.shown["cars"]) == 48
    torch.testing.assert_close(routers(kept), routers(computed), rtol=0, atol=1e-5)


class Augmented(MultiTaskData):
    """Shows other images than those that are in the sets."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return {task: (images + 0.5, labels) for task, (images, labels) in batch.items()}


class AugmentedInPlace(MultiTaskData):
    """Does so without new tensors."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        for images, _ in batch.values():
            images += 0.5
        return batch


@pytest.mark.parametrize("kind", [Augmented, AugmentedInPlace])
def test_experts_see_the_very_images_that_the_model_sees(
    tiny_suite: Suite,
    quiet_trainer: NewTrainer,
    counted: list[Counting],
    kind: type[MultiTaskData],
) -> None:
    fitted(tiny_suite, quiet_trainer(max_steps=6), kind(tiny_suite, batch_size=8))
    assert images_shown(counted) == dict.fromkeys(tiny_suite.tasks, 48)


class GivingItsOwn(TestTimeAdaptation):
    """A step that looks at other images than those it is given, too."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        own = {task: (images[:4].flip(0), labels[:4]) for task, (images, labels) in batch.items()}
        for task, outputs in self.outputs(own).items():
            expected = alone(self.suite, task, own[task][0])["expert_logits"]
            torch.testing.assert_close(outputs.expert_logits, expected)
        return super().training_step(batch, batch_idx)


def test_a_batch_of_ones_own_is_answered_as_it_is(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = GivingItsOwn(tiny_suite, WEMoE(), objective=Distillation(), references=False)
    quiet_trainer(max_steps=4).fit(module, MultiTaskData(tiny_suite, batch_size=8))


class Images(torch.utils.data.Dataset[Any]):
    """Batches of a data set of one's own."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        torch.manual_seed(index % 2)
        return {"cars": (torch.randn(2, 3, 28, 28), torch.zeros(2))}


class OwnData(L.LightningDataModule):
    """A data module that is none of ours."""

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Images(), batch_size=None)


def test_data_of_ones_own_is_answered_whenever_it_comes(
    tiny_suite: Suite, quiet_trainer: NewTrainer, counted: list[Counting]
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), objective=Distillation(), references=False)
    trainer = quiet_trainer(max_steps=4)
    trainer.fit(module, datamodule=OwnData())
    assert counted[0].shown == {"cars": [2, 2, 2, 2]}
    assert len(origins_of(trainer)._known) == 0


class Killed(L.Callback):
    """Ends a run in its tenth step, as a power cut would."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if batch_idx == 9:
            raise RuntimeError("killed")


def test_a_run_that_asks_again_ends_as_an_uninterrupted_one_but_for_rounding(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path, counted: list[Counting]
) -> None:
    """Its images come a second time from the fourth step on."""

    def fit(trainer: L.Trainer, **options: Any) -> Mapping[str, Tensor]:
        torch.manual_seed(0)
        module = TestTimeAdaptation(
            tiny_suite, WEMoE(), 0.01, objective=Distillation(), references=False
        )
        trainer.fit(module, MultiTaskData(tiny_suite, batch_size=6), **options)
        return routers(module)

    uninterrupted = fit(quiet_trainer(max_steps=12))
    validated: dict[str, Any] = {"val_check_interval": 8, "check_val_every_n_epoch": None}
    saving = [LastCheckpoint(str(tmp_path)), Killed()]
    with pytest.raises(RuntimeError, match="killed"):
        fit(
            quiet_trainer(max_steps=12, enable_checkpointing=True, callbacks=saving, **validated),
        )
    last = tmp_path / "last.ckpt"
    resumed = fit(quiet_trainer(max_steps=12, **validated), ckpt_path=last)
    assert 0 < sum(counted[-1].shown["cars"]) < 20  # of which it has none from before
    torch.testing.assert_close(resumed, uninterrupted, rtol=0, atol=1e-5)

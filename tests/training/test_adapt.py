"""Test-time adaptation: the objective, and a loop that does what plain torch would do."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from helpers.objectives import Everything
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Adam

from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.checkpoints import ENCODER_FILE
from wemoe_pl.checkpoints.heads import head_path, load_head
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.streams import Batch, StepBatches
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask, VisionTask
from wemoe_pl.errors import ConfigError
from wemoe_pl.export.loading import load
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.building import build_classifier
from wemoe_pl.reporting.results import collect_results
from wemoe_pl.reporting.summary import accuracy_table
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.evaluation import FinalEvaluation
from wemoe_pl.training.objectives.base import Objective
from wemoe_pl.training.objectives.distillation import Distillation
from wemoe_pl.training.objectives.entropy import Entropy, InformationMaximisation
from wemoe_pl.training.objectives.expert_labels import ExpertLabels
from wemoe_pl.training.objectives.outputs import AdaptationOutputs, Need
from wemoe_pl.training.references import REFERENCES

NewTrainer = Callable[..., L.Trainer]
BATCH_SIZE = 4
LEARNING_RATE = 0.01


def adapt(
    suite: Suite, trainer: L.Trainer, seed: int = 0, data: MultiTaskData | None = None, **fit: Any
) -> TestTimeAdaptation:
    torch.manual_seed(seed)
    module = TestTimeAdaptation(suite, WEMoE(), learning_rate=LEARNING_RATE)
    trainer.fit(module, data or MultiTaskData(suite, batch_size=BATCH_SIZE), **fit)
    return module


def routers(module: TestTimeAdaptation) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in module.trained_parameters().items()}


def assert_identical(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_adaptation_changes_every_router_and_nothing_else(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), learning_rate=LEARNING_RATE)
    module.configure_model()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    quiet_trainer(max_steps=2).fit(module, MultiTaskData(tiny_suite, batch_size=BATCH_SIZE))
    changed = {name for name, now in module.state_dict().items() if not now.equal(before[name])}
    assert changed == {name for name in before if ".router." in name}


def test_labels_are_not_looked_at(
    tiny_suite: Suite, quiet_trainer: NewTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    falsified = MultiTaskData(tiny_suite, batch_size=BATCH_SIZE)
    for task in tiny_suite.tasks:
        images = falsified.sets.load(ImageSet(task, "test")).images
        monkeypatch.setattr(images, "labels", [0] * len(images))
    honest = adapt(tiny_suite, quiet_trainer(max_steps=2))
    misled = adapt(tiny_suite, quiet_trainer(max_steps=2), data=falsified)
    assert_identical(routers(misled), routers(honest))


def test_adaptation_matches_a_loop_written_out(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    steps = 3
    module = adapt(tiny_suite, quiet_trainer(max_steps=steps))

    torch.manual_seed(0)
    classifier = build_classifier(tiny_suite, WEMoE())
    trained = {n: p for n, p in classifier.named_parameters() if p.requires_grad}
    optimizer = Adam(trained.values())
    data = MultiTaskData(tiny_suite)
    tasks = {task: data.sets.load(ImageSet(task, "test")) for task in tiny_suite.tasks}
    batches = StepBatches(tasks, BATCH_SIZE, tasks_per_batch=3, seed=0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        for task, (images, _) in batches[step].items():
            p = classifier(images, task).softmax(dim=-1)
            (-(p * p.log()).sum(dim=-1).mean()).backward()
        optimizer.step()
    expected = {f"classifier.{name}": weight.detach() for name, weight in trained.items()}
    torch.testing.assert_close(routers(module), expected, rtol=0, atol=1e-6)


def test_tasks_one_after_another_give_the_same_step_as_all_at_once(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    split = MultiTaskData(tiny_suite, batch_size=BATCH_SIZE, tasks_per_batch=1)
    in_parts = adapt(tiny_suite, quiet_trainer(max_steps=2, accumulate_grad_batches=3), data=split)
    at_once = adapt(tiny_suite, quiet_trainer(max_steps=2))
    torch.testing.assert_close(routers(in_parts), routers(at_once), rtol=0, atol=1e-6)


def test_a_seed_decides_everything(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    one, again, other = (
        routers(adapt(tiny_suite, quiet_trainer(max_steps=2), seed)) for seed in (0, 0, 1)
    )
    assert_identical(one, again)
    assert not any(one[name].equal(other[name]) for name in one if name.endswith("weight"))


class KilledInThirdStep(L.Callback):
    """Ends a run as a power cut would."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if batch_idx == 2:
            raise RuntimeError("killed")


def test_a_resumed_run_ends_as_an_uninterrupted_one(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    uninterrupted = adapt(tiny_suite, quiet_trainer(max_steps=4))
    validated = {"val_check_interval": 2, "check_val_every_n_epoch": None}
    callbacks = [LastCheckpoint(str(tmp_path)), KilledInThirdStep()]
    with pytest.raises(RuntimeError, match="killed"):
        adapt(
            tiny_suite,
            quiet_trainer(max_steps=4, enable_checkpointing=True, callbacks=callbacks, **validated),
        )
    last = tmp_path / "last.ckpt"
    resumed = adapt(tiny_suite, quiet_trainer(max_steps=4, **validated), seed=9, ckpt_path=last)
    assert_identical(routers(resumed), routers(uninterrupted))


FITTED = WEMoE(start_images=6, init_std=0.1)


def initialised(suite: Suite, seed: int = 0) -> dict[str, Tensor]:
    """The routers of a model that has looked at the first images of the stream, and not learned."""
    torch.manual_seed(seed)
    classifier = build_classifier(suite, FITTED)
    data = MultiTaskData(suite, batch_size=BATCH_SIZE)
    tasks = {task: data.sets.load(ImageSet(task, "test")) for task in suite.tasks}
    first, second = (StepBatches(tasks, BATCH_SIZE, 3, seed=0)[step] for step in (0, 1))
    images = {task: torch.cat([first[task][0], second[task][0]])[:6] for task in suite.experts}
    FITTED.initialise(classifier.encoder, images)
    trained = {n: p for n, p in classifier.named_parameters() if p.requires_grad}
    return {f"classifier.{name}": weight.detach() for name, weight in trained.items()}


class Before(L.Callback):
    """Keeps the routers as they are before the first step."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, TestTimeAdaptation)
        self.routers = {name: weight.clone() for name, weight in routers(pl_module).items()}


def test_routers_are_fitted_to_the_first_images_of_the_stream_before_the_first_step(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    before = Before()
    trainer = quiet_trainer(max_steps=1, callbacks=[before])
    torch.manual_seed(0)
    module = TestTimeAdaptation(tiny_suite, FITTED, learning_rate=LEARNING_RATE)
    trainer.fit(module, MultiTaskData(tiny_suite, batch_size=BATCH_SIZE))
    torch.testing.assert_close(before.routers, initialised(tiny_suite), rtol=1e-4, atol=1e-5)
    changed = [
        name for name, weight in routers(module).items() if weight.ne(before.routers[name]).any()
    ]
    assert changed == list(before.routers)


def test_a_resumed_run_keeps_the_routers_of_its_checkpoint(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"learning_rate": LEARNING_RATE, "schedule": "constant"}
    torch.manual_seed(0)
    module = TestTimeAdaptation(tiny_suite, FITTED, **options)
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(module, MultiTaskData(tiny_suite, batch_size=BATCH_SIZE))
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    before, resumed = Before(), TestTimeAdaptation(tiny_suite, FITTED, **options)
    quiet_trainer(max_steps=3, callbacks=[before]).fit(
        resumed, MultiTaskData(tiny_suite, batch_size=BATCH_SIZE), ckpt_path=tmp_path / "run.ckpt"
    )
    assert_identical(before.routers, routers(module))


def test_fewer_images_than_the_routers_were_to_be_fitted_to_are_said(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    data = MultiTaskData(tiny_suite, batch_size=BATCH_SIZE, images_per_task=5)
    module = TestTimeAdaptation(tiny_suite, FITTED)
    with pytest.warns(
        UserWarning, match=r"with 6 images of every task, .* \(for one task only 5\)"
    ):
        quiet_trainer(max_steps=1).fit(module, data)


def test_a_data_module_that_cannot_give_the_first_images_is_refused(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    batches = [{task: (torch.zeros(2, 3, 16, 16), torch.zeros(2)) for task in tiny_suite.tasks}]
    module = TestTimeAdaptation(tiny_suite, FITTED)
    with pytest.raises(ConfigError, match=r"set model\.merge\.start_images to 0, or adapt"):
        quiet_trainer(max_steps=1).fit(module, batches)


@pytest.mark.parametrize(
    ("merge", "published"),
    [
        (WEMoE(router_depth=0), 1e-3),
        (WEMoE(router_depth=1), 1e-4),
        (WEMoE(router_depth=2), 1e-4),
    ],
)
def test_the_default_learning_rate_is_the_published_one(
    tiny_suite: Suite, merge: MergeMethod, published: float
) -> None:
    assert TestTimeAdaptation(tiny_suite, merge).learning_rate == published
    assert TestTimeAdaptation(tiny_suite, merge, learning_rate=0.5).learning_rate == 0.5


def test_the_learning_rate_is_annealed_to_zero(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    trainer = quiet_trainer(max_steps=3)
    adapt(tiny_suite, trainer)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


def test_a_constant_learning_rate_stays(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    trainer = quiet_trainer(max_steps=3)
    module = TestTimeAdaptation(tiny_suite, AdaMerging(), schedule="constant")
    trainer.fit(module, MultiTaskData(tiny_suite, batch_size=2))
    assert trainer.optimizers[0].param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("diversity", [0.5, 1.0])
def test_a_single_image_has_nothing_to_differ_from(
    diversity: float, tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), diversity=diversity)
    data = MultiTaskData(tiny_suite, batch_size=1)
    with pytest.raises(ConfigError, match=r"there are only 1: set data\.batch_size to 2 or more"):
        quiet_trainer(max_steps=1).fit(module, data)
    module = TestTimeAdaptation(tiny_suite, WEMoE(), reliable=0.9)
    quiet_trainer(max_steps=1).fit(module, data)


def test_the_entropy_of_every_task_is_logged(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    trainer = quiet_trainer(max_steps=1)
    adapt(tiny_suite, trainer)
    logged = trainer.logged_metrics
    assert set(logged) == {"train/entropy", *(f"train/entropy/{task}" for task in tiny_suite.tasks)}
    each = [logged[f"train/entropy/{task}"] for task in tiny_suite.tasks]
    torch.testing.assert_close(logged["train/entropy"], torch.stack(each).mean())


@pytest.mark.parametrize("merge", [TaskArithmetic(), Pretrained(), Individual()])
def test_a_static_merge_has_nothing_to_adapt(
    tiny_suite: Suite, quiet_trainer: NewTrainer, merge: MergeMethod
) -> None:
    with pytest.raises(
        ConfigError, match=r"static merge with nothing to adapt: score it with `wemoe-pl test`"
    ):
        quiet_trainer(max_steps=1).fit(
            TestTimeAdaptation(tiny_suite, merge), MultiTaskData(tiny_suite)
        )


def test_the_number_of_steps_has_to_be_given(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    with pytest.raises(ConfigError, match=r"number of steps: trainer\.max_steps, from 1"):
        adapt(tiny_suite, quiet_trainer(max_epochs=1))


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0: give a number above 0"),
        ({"learning_rate": math.nan}, r"learning_rate is nan"),
        ({"diversity": -1.0}, r"diversity is -1\.0: give a number from 0"),
        ({"task": "crs"}, r"no task 'crs'\. Did you mean 'cars'"),
    ],
)
def test_an_option_out_of_range_is_refused(
    tiny_suite: Suite, option: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        TestTimeAdaptation(tiny_suite, WEMoE(), **option)


def test_routing_by_batch_is_adapted_on_one_device(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    two = quiet_trainer(max_steps=1, devices=2)
    for routing in ("sample", "batch"):
        module = TestTimeAdaptation(tiny_suite, WEMoE(routing=routing))
        module.configure_model()
        module.trainer = two
        if routing == "sample":
            module.on_fit_start()
    with pytest.raises(ConfigError, match=r"set model\.merge\.routing to sample, or .* to 1\.$"):
        module.on_fit_start()


def test_predictions_can_be_asked_of_one_task(tiny_suite: Suite) -> None:
    every, one = (TestTimeAdaptation(tiny_suite, WEMoE(), task=task) for task in (None, "dtd"))
    every.configure_model()
    assert list(every.predict_tasks) == ["cars", "dtd", "mnist"]
    assert list(one.predict_tasks) == ["dtd"]


# --- what it is compared with ----------------------------------------------------------------


def scored(suite: Suite, trainer: L.Trainer, merge: MergeMethod) -> TestTimeAdaptation:
    module = TestTimeAdaptation(suite, merge)
    trainer.test(module, MultiTaskData(suite, test_batch_size=8), verbose=False)
    return module


OWN = pytest.mark.parametrize(
    ("merge", "own"),
    [
        (Pretrained(), "pretrained"),
        (TaskArithmetic(), "task_arithmetic"),
        (TaskArithmetic(0.1), "task_arithmetic"),
        (Individual(), "individual"),
    ],
)


@OWN
def test_a_method_of_the_table_is_its_own_reference_and_scored_once(
    tiny_suite: Suite, quiet_trainer: NewTrainer, merge: MergeMethod, own: str
) -> None:
    module = TestTimeAdaptation(tiny_suite, merge)
    assert module.own_reference == own
    assert own not in module.build_references()
    module = scored(tiny_suite, quiet_trainer(), merge)
    assert isinstance(module.evaluation, FinalEvaluation)
    others = {"pretrained", "task_arithmetic", "individual"} - {own}
    assert set(module.evaluation.reference_scores) == others
    reference = module.test_results["reference"]
    assert set(reference) == {"pretrained", "task_arithmetic", "individual"}
    assert reference[own] == module.test_results["accuracy"]


@OWN
def test_a_method_of_the_table_has_no_second_column_there(
    tiny_suite: Suite, quiet_trainer: NewTrainer, merge: MergeMethod, own: str
) -> None:
    results = collect_results(scored(tiny_suite, quiet_trainer(), merge), seed=0)
    titles = [str(column.header) for column in accuracy_table(results).columns]
    assert len(titles) == 4
    assert titles.count(REFERENCES[own].title) == 1


def test_an_own_reference_is_scored_as_if_it_were_another(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    whole = scored(tiny_suite, quiet_trainer(), WEMoE()).test_results["reference"]
    own = scored(tiny_suite, quiet_trainer(), TaskArithmetic()).test_results["reference"]
    assert own == whole


def test_the_normalized_mean_of_individual_experts_is_one(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    results = collect_results(scored(tiny_suite, quiet_trainer(), Individual()), seed=0)
    assert results["normalized_mean"] == pytest.approx(1.0)


def test_an_adapted_method_is_no_reference(tiny_suite: Suite) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(0.2))
    assert module.own_reference is None
    assert set(module.build_references()) == {"pretrained", "task_arithmetic", "individual"}
    assert module.columns["task_arithmetic"] == TaskArithmetic(0.2)


def test_without_references_nothing_but_the_method_is_scored(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = TestTimeAdaptation(tiny_suite, Pretrained(), references=False)
    quiet_trainer().test(module, MultiTaskData(tiny_suite), verbose=False)
    assert not module.build_references()
    assert isinstance(module.evaluation, FinalEvaluation)
    assert not module.evaluation.reference_scores
    assert module.test_results["reference"] == {"pretrained": module.test_results["accuracy"]}


# --- without labels --------------------------------------------------------------------------


def test_images_without_labels_are_adapted_to_as_those_with(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    for task in tiny_suite.tasks:
        images = tiny_suite.task(task).images("test")
        for index in range(len(images)):
            path = tmp_path / task / f"{index:02d}.png"
            path.parent.mkdir(exist_ok=True)
            images[index][0].save(path)
    unlabelled: dict[str, VisionTask] = {
        task: ImageFolderTask(test=str(tmp_path / task), labelled=False)
        for task in tiny_suite.tasks
    }
    blind = adapt(replace(tiny_suite, tasks=unlabelled), quiet_trainer(max_steps=2))
    seeing = adapt(tiny_suite, quiet_trainer(max_steps=2))
    assert_identical(routers(blind), routers(seeing))


def test_experts_alone_are_scored_on_the_tasks_that_have_one(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    suite = replace(tiny_suite, experts={"dtd": tiny_suite.experts["dtd"]})
    module = TestTimeAdaptation(suite, Individual())
    quiet_trainer().test(module, MultiTaskData(suite), verbose=False)
    assert list(module.test_results["accuracy"]) == ["dtd"]
    assert list(module.test_results["reference"]["pretrained"]) == list(suite.tasks)


# --- by other objectives ---------------------------------------------------------------------


def fitted(suite: Suite, trainer: L.Trainer, **options: Any) -> TestTimeAdaptation:
    torch.manual_seed(0)
    module = TestTimeAdaptation(suite, WEMoE(), learning_rate=LEARNING_RATE, **options)
    trainer.fit(module, MultiTaskData(suite, batch_size=BATCH_SIZE))
    return module


@pytest.mark.parametrize(
    ("old", "objective"),
    [
        ({}, Entropy()),
        ({"diversity": 0.7, "reliable": 0.95}, InformationMaximisation(0.7, 0.95)),
        ({"reliable": 0.9, "objective": Entropy()}, InformationMaximisation(0.0, 0.9)),
    ],
)
def test_old_options_learn_the_same_to_the_last_bit(
    tiny_suite: Suite, quiet_trainer: NewTrainer, old: dict[str, Any], objective: Objective
) -> None:
    before = fitted(tiny_suite, quiet_trainer(max_steps=2), **old)
    now = fitted(tiny_suite, quiet_trainer(max_steps=2), objective=objective)
    assert_identical(routers(now), routers(before))


def test_an_own_objective_is_minimised_as_by_a_loop_written_out(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    steps = 3
    options = {"objective": Everything(), "schedule": "constant"}
    module = fitted(tiny_suite, quiet_trainer(max_steps=steps), **options)

    torch.manual_seed(0)
    classifier = build_classifier(tiny_suite, WEMoE())
    experts = build_classifier(tiny_suite, Individual())
    trained = {n: p for n, p in classifier.named_parameters() if p.requires_grad}
    optimizer = Adam(trained.values(), lr=LEARNING_RATE)
    data = MultiTaskData(tiny_suite)
    tasks = {task: data.sets.load(ImageSet(task, "test")) for task in tiny_suite.tasks}
    batches = StepBatches(tasks, BATCH_SIZE, tasks_per_batch=3, seed=0)
    for step in range(steps):
        optimizer.zero_grad()
        for task, (images, _) in batches[step].items():
            with classifier.recorded_routing(detached=False):
                features = classifier.encode(images)
                routing = torch.stack(classifier.routing_weights, dim=1)
            needed: dict[Need, Tensor] = {"features": features, "routing_weights": routing}
            seen = experts.encode(images, task).detach()
            needed |= {"images": images, "expert_features": seen}
            needed |= {"expert_logits": experts.head(task)(seen)}
            logits = classifier.head(task)(features)
            options["objective"](AdaptationOutputs(task, logits, needed)).backward()  # type: ignore[operator]
        optimizer.step()
    expected = {f"classifier.{name}": weight.detach() for name, weight in trained.items()}
    torch.testing.assert_close(routers(module), expected, rtol=0, atol=1e-6)


def test_an_own_objective_is_logged_beside_the_entropy(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    trainer = quiet_trainer(max_steps=1)
    fitted(tiny_suite, trainer, objective=Distillation())
    logged, tasks = trainer.logged_metrics, tuple(tiny_suite.tasks)
    keys = ("train/entropy", "train/loss")
    assert set(logged) == {name for key in keys for name in (key, *(f"{key}/{t}" for t in tasks))}
    each = torch.stack([logged[f"train/loss/{task}"] for task in tasks])
    torch.testing.assert_close(logged["train/loss"], each.mean())


def test_experts_are_no_part_of_the_model_and_are_let_go_of(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    trainer = quiet_trainer(max_steps=1)
    module = fitted(tiny_suite, trainer, objective=Distillation())
    plain = fitted(tiny_suite, quiet_trainer(max_steps=1))
    assert module.state_dict().keys() == plain.state_dict().keys()
    assert module._experts is None
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    saved = torch.load(tmp_path / "own.ckpt", weights_only=True)
    assert saved["state_dict"].keys() == routers(plain).keys()


def test_routing_weights_of_a_merge_without_routers_are_refused(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = TestTimeAdaptation(tiny_suite, AdaMerging(), objective=Everything())
    complaint = "needs routing weights, but Layer-wise AdaMerging has no routers: choose another"
    with pytest.raises(ConfigError, match=complaint):
        quiet_trainer(max_steps=1).fit(module, MultiTaskData(tiny_suite, batch_size=2))


def test_old_options_beside_another_objective_are_refused(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"diversity is 1\.0 and model\.objective is Distillati"):
        TestTimeAdaptation(tiny_suite, WEMoE(), diversity=1.0, objective=Distillation())
    with pytest.raises(ConfigError, match="Distillation is not an objective: give an object"):
        TestTimeAdaptation(tiny_suite, WEMoE(), objective=Distillation)  # type: ignore[arg-type]


class OwnStep(TestTimeAdaptation):
    """A training step of one's own, that returns a bare loss."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        outputs = self.outputs(batch)
        losses = [values.logits.softmax(dim=-1).var(dim=0).sum() for values in outputs.values()]
        return -torch.stack(losses).sum()


def test_a_training_step_of_ones_own_may_return_a_bare_loss(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = OwnStep(tiny_suite, WEMoE(), learning_rate=LEARNING_RATE)
    module.configure_model()
    before = {name: weight.clone() for name, weight in routers(module).items()}
    quiet_trainer(max_steps=1).fit(module, MultiTaskData(tiny_suite, batch_size=BATCH_SIZE))
    assert not any(weight.equal(before[name]) for name, weight in routers(module).items())


def test_heads_that_are_trained_are_resumed_loaded_and_left_as_files(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    def fit(trainer: L.Trainer, **options: Any) -> TestTimeAdaptation:
        merge = AdaMerging("layer", clamp=True, trains_heads=True)
        module = TestTimeAdaptation(
            tiny_suite, merge, learning_rate=LEARNING_RATE, objective=ExpertLabels()
        )
        trainer.fit(module, MultiTaskData(tiny_suite, batch_size=BATCH_SIZE), **options)
        return module

    uninterrupted = fit(quiet_trainer(max_steps=4))
    validated = {"val_check_interval": 2, "check_val_every_n_epoch": None}
    callbacks = [LastCheckpoint(str(tmp_path)), KilledInThirdStep()]
    with pytest.raises(RuntimeError, match="killed"):
        fit(quiet_trainer(max_steps=4, enable_checkpointing=True, callbacks=callbacks, **validated))
    ended = quiet_trainer(max_steps=4, **validated)
    resumed = fit(ended, ckpt_path=tmp_path / "last.ckpt")
    assert_identical(routers(resumed), routers(uninterrupted))
    names = {name for name in routers(resumed) if ".heads." in name}
    assert len(names) == 2 * len(tiny_suite.tasks)

    ended.save_checkpoint(tmp_path / "end.ckpt")
    loaded = load(tmp_path / "end.ckpt")
    resumed.export(tmp_path, {}, seed=0)
    images = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    start = build_classifier(tiny_suite, resumed.merge)
    encoder = tiny_suite.backbone.build().eval()
    encoder.load_state_dict(load_file(tmp_path / ENCODER_FILE))
    for task in tiny_suite.tasks:
        logits = resumed.classifier.eval()(images, task)
        torch.testing.assert_close(loaded(images, task), logits)
        head = load_head(str(head_path(tmp_path, task)))
        torch.testing.assert_close(head(encoder(images)), logits)
        assert not torch.allclose(start.head(task).weight, resumed.classifier.head(task).weight)

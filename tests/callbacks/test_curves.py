"""Curves against what was done, and a loss that is no number."""

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from wemoe_pl.callbacks.curves import Curves, check_finite, check_gradient
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import WeMoEError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.training.adapt import TestTimeAdaptation

NewTrainer = Callable[..., L.Trainer]
STEPS = 6


class Recorder(L.Callback):
    """The norm of every gradient, by hand."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        squares = [p.grad.square().sum() for p in pl_module.parameters() if p.grad is not None]
        self.norms.append(float(torch.stack(squares).sum().sqrt()))


@pytest.fixture
def fitted(tiny_suite: Suite, quiet_trainer: NewTrainer) -> tuple[Curves, Recorder]:
    curves, recorder = Curves(), Recorder()
    trainer = quiet_trainer(
        max_steps=STEPS,
        callbacks=[curves, recorder],
        log_every_n_steps=2,
        val_check_interval=3,
        check_val_every_n_epoch=None,
    )
    module = TestTimeAdaptation(tiny_suite, WEMoE(), learning_rate=0.1)
    trainer.fit(module, MultiTaskData(tiny_suite, batch_size=2))
    return curves, recorder


def test_points_are_kept_every_few_steps_and_at_every_validation(
    fitted: tuple[Curves, Recorder],
) -> None:
    points = fitted[0].points
    for key in ("train/entropy", "train/entropy/cars", "train/gradient_norm"):
        assert list(points[key]) == [2, 4, 6]
    for key in ("val/acc", "val/diversity/mnist", "val/information"):
        assert list(points[key]) == [3, 6]


def test_the_gradient_is_measured_as_by_hand(fitted: tuple[Curves, Recorder]) -> None:
    curves, recorder = fitted
    expected = [recorder.norms[step - 1] for step in (2, 4, 6)]
    assert list(curves.points["train/gradient_norm"].values()) == pytest.approx(expected)


def test_the_learning_rate_is_that_of_the_step(fitted: tuple[Curves, Recorder]) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    schedule = CosineAnnealingLR(optimizer, STEPS)
    rates = []
    for _ in range(STEPS):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    points = fitted[0].points["train/learning_rate"]
    assert list(points.values()) == pytest.approx([rates[step - 1] for step in (2, 4, 6)])


def test_the_speed_counts_the_images_of_all_tasks_and_devices(
    fitted: tuple[Curves, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(speed > 0 for speed in fitted[0].points["train/images_per_second"].values())
    clock = iter([10.0, 10.5, 12.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    logged: list[float] = []
    facts = {"optimizers": [], "global_step": 1, "log_every_n_steps": 2, "world_size": 3}
    trainer: Any = type("T", (), facts)()
    module: Any = type("M", (), {"log": lambda self, key, value: logged.append(value)})()
    batch = {"a": (torch.zeros(3), torch.zeros(3)), "b": (torch.zeros(5), torch.zeros(5))}
    curves = Curves()
    curves.on_train_batch_start(trainer, module, batch, 0)
    for place in range(2):
        curves.on_train_batch_end(trainer, module, None, batch, place)
    assert logged == [3 * 8 / 0.5, 3 * 8 / 2.0]


def test_a_resumed_run_keeps_its_curves(fitted: tuple[Curves, Recorder]) -> None:
    again = Curves()
    again.load_state_dict(fitted[0].state_dict())
    assert again.points == fitted[0].points


@pytest.mark.parametrize(
    "outputs", [torch.tensor(float("nan")), {"loss": torch.tensor(float("inf"))}]
)
def test_a_loss_that_is_no_number_ends_the_run(outputs: Any) -> None:
    with pytest.raises(WeMoEError, match=r"loss is (nan|inf) at step 7: .* model\.learning_rate"):
        check_finite(outputs, 7)


@pytest.mark.parametrize("outputs", [None, torch.tensor(1.0), {"loss": torch.tensor(-2.0)}, {}])
def test_any_other_loss_is_fine(outputs: Any) -> None:
    check_finite(outputs, 7)


@pytest.mark.parametrize("norm", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_is_told_with_what_it_comes_from(norm: float) -> None:
    metrics = {
        "train/entropy/cars": torch.tensor(torch.nan), "train/entropy/dtd": torch.tensor(1.0),
    }  # fmt: skip
    told = rf"gradient is {norm} at step 7 \(train/entropy/cars is nan\): .* model\.learning_rate"
    told += r".*, and go on from the last checkpoint with `--ckpt_path last`\.$"
    with pytest.raises(WeMoEError, match=told):
        check_gradient(torch.tensor(norm), 7, metrics)
    with pytest.raises(WeMoEError, match=rf"gradient is {norm} at step 7: nothing"):
        check_gradient(torch.tensor(norm), 7, {})
    check_gradient(torch.tensor(1.0), 7, metrics)


class Other(L.LightningModule):
    """A module that has nothing to do with tasks, of batches that are no mappings."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return (self.weight * batch).square().sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], lr=0.25)


def test_modules_and_batches_of_others_have_curves_too(quiet_trainer: NewTrainer) -> None:
    curves = Curves()
    trainer = quiet_trainer(max_steps=2, callbacks=[curves], log_every_n_steps=1)
    rows: Any = list(torch.ones(2, 3))  # torch takes any sequence, though it does not say so
    trainer.fit(Other(), torch.utils.data.DataLoader(rows, batch_size=1))
    assert curves.points["train/learning_rate"] == {1: 0.25, 2: 0.25}
    assert curves.points["train/gradient_norm"][1] == pytest.approx(2 * 3**0.5)


def test_a_step_that_returns_a_bare_loss_has_curves(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    class OwnStep(TestTimeAdaptation):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = torch.stack([o.logits.var() for o in self.outputs(batch).values()]).sum()
            self.log("train/loss", loss)
            return loss

    curves = Curves()
    trainer = quiet_trainer(max_steps=2, callbacks=[curves], log_every_n_steps=1)
    trainer.fit(OwnStep(tiny_suite, WEMoE()), MultiTaskData(tiny_suite, batch_size=2))
    for key in ("train/loss", "train/images_per_second", "train/gradient_norm"):
        assert curves.points[key].keys() >= {2}

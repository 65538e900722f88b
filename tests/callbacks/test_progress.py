"""The line of progress, on a terminal and elsewhere."""

import re
from collections.abc import Callable
from io import StringIO
from typing import Any

import lightning as L
import pytest

from wemoe_pl.callbacks.progress import StepProgressBar
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.system.console import Console
from wemoe_pl.training.adapt import TestTimeAdaptation


def test_progress_counts_the_batches_of_all_steps() -> None:
    progress = StepProgressBar()
    trainer = L.Trainer(accelerator="cpu", logger=False, max_steps=7, accumulate_grad_batches=3)
    progress.setup(trainer, L.LightningModule(), "fit")
    assert progress.total_train_batches == 21


@pytest.mark.parametrize("forced", [{"force_terminal": True}, {}])
def test_progress_is_one_line_with_entropy_accuracy_and_eta_on_a_terminal_alone(
    forced: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    quiet_trainer: Callable[..., L.Trainer], tiny_suite: Suite,
) -> None:  # fmt: skip
    for name in ("TTY_COMPATIBLE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("rich._console", Console())  # which Lightning's bar replaces
    page = StringIO()
    bar = StepProgressBar(leave=True, console_kwargs={"file": page, "width": 80, **forced})
    trainer = quiet_trainer(
        max_steps=2, val_check_interval=2, check_val_every_n_epoch=None,
        enable_progress_bar=True, callbacks=[bar],
    )  # fmt: skip
    module = TestTimeAdaptation(tiny_suite, WEMoE(), references=False)
    trainer.fit(module, MultiTaskData(tiny_suite, batch_size=2))
    if not forced:
        assert page.getvalue() == ""
        return
    *_, line = [line for line in plain(page.getvalue()) if "Training" in line]
    entropy, accuracy = (trainer.callback_metrics[k] for k in ("train/entropy", "val/acc"))
    assert re.search(r" 2/2 ETA (\d\d:\d\d|--:--) ", line)
    assert line.endswith(f"entropy: {entropy:.3f} accuracy at step 2: {accuracy:.1%}")


def plain(page: str) -> list[str]:
    """What was printed without colours, by lines, each as often as it was drawn."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*\w", "", page))]

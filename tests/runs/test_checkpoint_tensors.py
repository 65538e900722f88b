"""The tensors of a checkpoint: which of them no run has written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from helpers.written_checkpoints import rewrite, run_record
from torch import Tensor

from wemoe_pl.callbacks.last_checkpoint import IdentityRecord
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.loading import load
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.checkpoint_tensors import LIGHTNING_PRECISIONS
from wemoe_pl.runs.identity import Identity
from wemoe_pl.training.adapt import TestTimeAdaptation


def first_weight(contents: dict[str, Any]) -> tuple[dict[str, Any], str, Tensor]:
    """The state dict, and the first of its weights with its name."""
    state = contents["state_dict"]
    return state, *next(iter(state.items()))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_single_weight_that_is_not_finite_is_named(value: float, checkpoint: Path) -> None:
    rewrite(checkpoint, lambda contents: first_weight(contents)[2].view(-1)[-1:].fill_(value))
    complaint = r"NaN or infinite values in 'state_dict\.classifier\..*router\.hidden\.weight'"
    for read in (read_checkpoint, load):
        with pytest.raises(CheckpointError, match=complaint):
            read(checkpoint)


def test_a_moment_of_the_optimiser_that_is_not_finite_is_named(checkpoint: Path) -> None:
    def spoil(contents: dict[str, Any]) -> None:
        contents["optimizer_states"][0]["state"][2]["exp_avg_sq"].fill_(float("inf"))

    rewrite(checkpoint, spoil)
    with pytest.raises(CheckpointError, match=r"in 'optimizer_states\.0\.state\.2\.exp_avg_sq'"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.complex64, torch.bool])
def test_a_weight_of_another_precision_than_the_run_has_is_named(
    dtype: torch.dtype, checkpoint: Path
) -> None:
    def change(contents: dict[str, Any]) -> None:
        state, name, weight = first_weight(contents)
        state[name] = weight.to(dtype)
        contents["run"] = run_record(recipe={"trainer": {"precision": "32-true"}})

    rewrite(checkpoint, change)
    with pytest.raises(CheckpointError, match=rf"of {dtype}, and its run has weights of torch\.fl"):
        read_checkpoint(checkpoint)


def test_a_weight_that_stands_for_more_than_the_file_has_is_refused(checkpoint: Path) -> None:
    def expand(contents: dict[str, Any]) -> None:
        state, name, _ = first_weight(contents)
        state[name] = torch.ones(1).expand(1 << 40)

    rewrite(checkpoint, expand)
    with pytest.raises(CheckpointError, match=r"is not a plain tensor with all its values"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_a_run_in_another_precision_is_read_again(
    precision: Any, tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    recipe = {"trainer": {"precision": precision}}
    record = IdentityRecord(Identity("fit", recipe, {}, {}))
    trainer = quiet_trainer(max_steps=1, precision=precision, callbacks=[record])
    trainer.fit(TestTimeAdaptation(tiny_suite, WEMoE()), MultiTaskData(tiny_suite, batch_size=2))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    kinds = {w.dtype for w in read_checkpoint(tmp_path / "last.ckpt")["state_dict"].values()}
    assert kinds == {LIGHTNING_PRECISIONS[precision]}
    assert load(tmp_path / "last.ckpt")(torch.ones(1, 3, 28, 28), "dtd").isfinite().all()

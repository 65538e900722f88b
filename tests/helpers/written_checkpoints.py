"""Checkpoints that no run has made, of the fields that every run's checkpoint has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def bare_checkpoint(step: int = 1, **changes: Any) -> dict[str, Any]:
    """The contents of a checkpoint of nothing, after some steps."""
    progress = {"ready": step, "completed": step}
    done = {"total": progress, "current": progress}
    steps = {"optimizer": {"step": done, "zero_grad": {}}}
    scoring = {"state_dict": {}, "batch_progress": done}
    loops = {
        "fit_loop": {
            "state_dict": {},
            "epoch_loop.automatic_optimization.optim_progress": steps,
            "epoch_loop.manual_optimization.optim_step_progress": done,
        },
        **{f"{stage}_loop": scoring for stage in ("validate", "test", "predict")},
    }
    return {
        "wemoe_pl": {"method": "WEMoE", "sources": {}, "recipe": {}},
        "epoch": 0,
        "global_step": step,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {},
        "loops": loops,
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        **changes,
    }


def write_checkpoint(path: Path, step: int = 1, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(bare_checkpoint(step, **changes), path)
    return path


def run_record(**changes: Any) -> dict[str, Any]:
    """The field `run` of a checkpoint."""
    return {"command": "fit", "recipe": {}, "images": {}, "history": [], **changes}


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Save a checkpoint again, after a change of its contents."""
    contents = torch.load(path, weights_only=True)
    change(contents)
    torch.save(contents, path)
    return path

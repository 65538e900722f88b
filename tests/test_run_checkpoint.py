"""Checkpoints are whole, or not there; what is no checkpoint is named."""

import errno
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch

from wemoe_pl.errors import CheckpointError, WeMoEError
from wemoe_pl.run_checkpoint import LastCheckpoint, read_checkpoint

NewTrainer = Callable[..., L.Trainer]


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    quiet_trainer: NewTrainer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fill_the_disk(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "last.ckpt").write_text("whole")
    trainer = quiet_trainer()
    monkeypatch.setattr(trainer, "save_checkpoint", fill_the_disk)
    with pytest.raises(WeMoEError, match=r"Cannot write .*last\.ckpt: No space left"):
        LastCheckpoint(str(tmp_path)).save(trainer)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, checkpoint: Path) -> None:
    assert read_checkpoint(checkpoint)["global_step"] == 1
    text, foreign, cut = tmp_path / "text.ckpt", tmp_path / "foreign.ckpt", tmp_path / "cut.ckpt"
    text.write_text("no checkpoint")
    torch.save({"state_dict": {}}, foreign)
    cut.write_bytes(checkpoint.read_bytes()[:1000])
    complaints = {
        tmp_path / "missing.ckpt": "There is no checkpoint",
        text: "is damaged or no checkpoint",
        cut: "is damaged or no checkpoint",
        foreign: "was not written by wemoe-pl",
    }
    for path, complaint in complaints.items():
        with pytest.raises(CheckpointError, match=complaint) as refusal:
            read_checkpoint(path)
        assert str(path) in str(refusal.value)

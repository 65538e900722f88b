"""Checkpoints are whole, or not there; what is no checkpoint is named."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.loading import load
from wemoe_pl.runs.checkpoint import read_checkpoint


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, checkpoint: Path) -> None:
    assert read_checkpoint(checkpoint)["global_step"] == 1
    text, foreign, cut = tmp_path / "text.ckpt", tmp_path / "foreign.ckpt", tmp_path / "cut.ckpt"
    text.write_text("no checkpoint")
    torch.save({"state_dict": {}}, foreign)
    cut.write_bytes(checkpoint.read_bytes()[:1000])
    complaints = {
        tmp_path / "missing.ckpt": "There is no checkpoint",
        text: "is damaged or not a checkpoint",
        cut: "is damaged or not a checkpoint",
        foreign: "was not written by wemoe-pl",
    }
    for path, complaint in complaints.items():
        with pytest.raises(CheckpointError, match=complaint) as refusal:
            read_checkpoint(path)
        assert str(path) in str(refusal.value)


# --- damage ----------------------------------------------------------------------------------

FEW, MANY = 200, 20_000  # places at which a file is damaged


def same(one: Any, other: Any) -> bool:
    """Are two checkpoints equal, bit for bit?"""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and one.equal(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def read_or_refusal(path: Path) -> dict[str, Any] | CheckpointError:
    """What is read, or why nothing is."""
    try:
        return read_checkpoint(path)
    except CheckpointError as error:
        return error


@pytest.mark.parametrize("places", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
def test_a_flipped_bit_is_refused_unless_it_changes_nothing(
    places: int, checkpoint: Path, record_property: Any
) -> None:
    """Between the parts of the file there is padding, which says nothing."""
    whole, expected = checkpoint.read_bytes(), read_checkpoint(checkpoint)
    generator, refused = random.Random(0), 0
    for _ in range(places):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        checkpoint.write_bytes(damaged)
        answer = read_or_refusal(checkpoint)
        if isinstance(answer, CheckpointError):
            refused += 1
            beginnings = "is damaged or not a checkpoint: ", "is a compressed archive, "
            assert str(answer).startswith(tuple(f"{checkpoint} {words}" for words in beginnings))
            assert "\n" not in str(answer)
        else:
            assert same(answer, expected)
    record_property("refused", refused)
    assert refused > places / 2


@pytest.mark.parametrize("places", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
def test_a_file_that_is_cut_off_is_refused(places: int, checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // places)):
        checkpoint.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is damaged or not a checkpoint"):
            read_checkpoint(checkpoint)


def test_torch_alone_would_take_damaged_weights(checkpoint: Path) -> None:
    """Why there is a check at all."""
    expected = read_checkpoint(checkpoint)
    weight = next(iter(expected["state_dict"].values()))
    place = checkpoint.read_bytes().index(weight.numpy().tobytes())
    damaged = bytearray(checkpoint.read_bytes())
    damaged[place] ^= 1
    checkpoint.write_bytes(damaged)
    assert not same(torch.load(checkpoint, weights_only=True), expected)
    for read in (read_checkpoint, load):
        with pytest.raises(CheckpointError, match="its contents are not those that were written"):
            read(checkpoint)

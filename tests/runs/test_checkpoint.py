"""Checkpoints are whole, or not there; what is no checkpoint is named."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile

import pytest
import torch
from helpers.written_checkpoints import run_record
from torch import Tensor

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
        text: "is damaged or no checkpoint",
        cut: "is damaged or no checkpoint",
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
            beginnings = "is damaged or no checkpoint: ", "is a compressed archive, "
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
        with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
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
        with pytest.raises(CheckpointError, match="it is not what was once written"):
            read(checkpoint)


# --- fields and weights ----------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Save a checkpoint again, after a change of its contents."""
    contents = torch.load(path, weights_only=True)
    change(contents)
    torch.save(contents, path)
    return path


def put(contents: Any, key: str, value: Any) -> None:
    """Set a field by its dotted key; `...` removes it."""
    *above, last = key.split("/")
    for part in above:
        contents = contents[part]
    if value is ...:
        del contents[last]
    else:
        contents[last] = value


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("global_step", ..., "'global_step' is missing"),
        ("global_step", -1, "'global_step' is -1 and should be greater than or equal to 0"),
        ("global_step", True, "'global_step' is True and should be a valid integer"),
        ("global_step", 7, r"it is of step 7, and its optimiser has made 1 steps"),
        ("pytorch-lightning_version", "new", "should be the number of a version"),
        ("callbacks", [], r"'callbacks' is \[\] and should be a valid dictionary"),
        ("callbacks/LastCheckpoint", {"rng": {}}, "'callbacks.LastCheckpoint.validated_step' is m"),
        ("callbacks/Curves", {"points": {"a": 1}}, "'callbacks.Curves.points.a' is 1 and should"),
        ("callbacks/Dashboard", {"run_id": 1, "alerted": []}, "'callbacks.Dashboard.run_id' is 1"),
        ("optimizer_states", {}, "'optimizer_states' is {} and should be a valid list"),
        ("lr_schedulers", ..., "'lr_schedulers' is missing"),
        ("loops/fit_loop", ..., r"'loops\.fit_loop' is missing"),
        ("loops/fit_loop/epoch_progress", {"total": 1}, r"epoch_progress\.total' is 1 and should"),
        ("state_dict", ..., "'state_dict' is missing"),
        ("wemoe_pl/method", 3, "'wemoe_pl.method' is 3 and should be a valid string"),
        ("wemoe_pl/sources", ..., "'wemoe_pl.sources' is missing"),
        ("wemoe_pl/sources/pretrained", {"source": "a"}, r"sources\.pretrained\.sha256' is missi"),
        ("wemoe_pl/sources/pretrained/sha256", "abc", r"sha256' is 'abc' and"),
        ("run", {"command": "fit"}, r"'run\.recipe' is missing"),
    ],
)
def test_a_field_that_is_missing_or_of_another_type_is_named(
    key: str, value: Any, complaint: str, checkpoint: Path
) -> None:
    rewrite(checkpoint, lambda contents: put(contents, key, value))
    with pytest.raises(CheckpointError, match=rf"one\.ckpt is damaged: .*{complaint}") as refusal:
        read_checkpoint(checkpoint)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", ["wemoe_pl/adapter", "callbacks/LastCheckpoint"])
def test_a_field_of_a_later_version_is_refused(key: str, checkpoint: Path) -> None:
    state: dict[str, Any] = {"rng": {}, "validated_step": None, "since": 1}
    rewrite(checkpoint, lambda contents: put(contents, key, state))
    complaint = r"has the field '(wemoe_pl\.adapter|callbacks\.LastCheckpoint\.since)', of which"
    with pytest.raises(CheckpointError, match=rf"{complaint}.* Upgrade wemoe_pl\.$"):
        read_checkpoint(checkpoint)


def test_what_others_put_beside_our_fields_is_left_to_them(checkpoint: Path) -> None:
    def add(contents: dict[str, Any]) -> None:
        contents["MyPlugin"] = {"scale": 2.0}
        contents["callbacks"]["EarlyStopping"] = {"best_score": torch.tensor(float("inf"))}

    assert read_checkpoint(rewrite(checkpoint, add))["MyPlugin"] == {"scale": 2.0}


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
    with pytest.raises(CheckpointError, match=r"is no plain tensor with all its values"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize("method", [ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA])
def test_a_compressed_archive_is_refused_before_anything_is_unpacked(
    method: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "packed.ckpt"
    with ZipFile(checkpoint) as plain, ZipFile(packed, "w") as archive:
        for number, part in enumerate(plain.infolist()):
            kind = method if number else ZIP_STORED  # one compressed part is enough
            archive.writestr(part.filename, plain.read(part), compress_type=kind)
    monkeypatch.setattr(ZipFile, "open", lambda *_, **__: pytest.fail("a part was opened"))
    for read in (read_checkpoint, load):
        with pytest.raises(CheckpointError, match=r"packed\.ckpt is a compressed archive, in whi"):
            read(packed)

"""The fields of a checkpoint: which are refused, and which are left to others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.written_checkpoints import rewrite

from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.checkpoint import read_checkpoint


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
        ("global_step", 7, r"it is of step 7, but its optimiser has made 1 steps"),
        ("pytorch-lightning_version", "new", "should be a version number"),
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
        ("wemoe_pl/recipe/suite", 3, r"'wemoe_pl\.recipe\.suite' is 3 and should be a valid dict"),
        ("wemoe_pl/recipe/suite/experts", 3, r"recipe\.suite\.experts' is 3 and should be a vali"),
        ("wemoe_pl/recipe/merge", "WEMoE", r"recipe\.merge' is 'WEMoE' and should be a valid dic"),
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
    complaint = (
        r"has the field '(wemoe_pl\.adapter|callbacks\.LastCheckpoint\.since)', which this version"
    )
    with pytest.raises(CheckpointError, match=rf"{complaint}.* Upgrade wemoe_pl\.$"):
        read_checkpoint(checkpoint)


def test_what_others_put_beside_our_fields_is_left_to_them(checkpoint: Path) -> None:
    def add(contents: dict[str, Any]) -> None:
        contents["MyPlugin"] = {"scale": 2.0}
        contents["callbacks"]["EarlyStopping"] = {"best_score": torch.tensor(float("inf"))}

    assert read_checkpoint(rewrite(checkpoint, add))["MyPlugin"] == {"scale": 2.0}

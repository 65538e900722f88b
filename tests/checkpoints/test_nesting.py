"""The weights in what a training script saved are found, and others beside them are told of."""

import warnings
from typing import Any

import pytest
import torch

from wemoe_pl.checkpoints.nesting import AVERAGED, DISTILLED, TRAINED, state_dict_in
from wemoe_pl.errors import CheckpointError

STATE = {"weight": torch.ones(2)}
OTHER = {"weight": torch.zeros(2)}
BESIDE = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, "lr": torch.ones(1)}


@pytest.mark.parametrize("place", [*TRAINED, *AVERAGED, *DISTILLED])
@pytest.mark.parametrize("inner", [None, "module", "state_dict"])
def test_weights_are_found_in_the_usual_places(inner: str | None, place: str) -> None:
    nested = {inner: STATE} if inner else STATE
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert state_dict_in({**BESIDE, place: nested}, "last.ckpt") == STATE


def test_a_state_dict_is_itself() -> None:
    assert state_dict_in({**STATE, "version": 2}, "vit.pt") == STATE


@pytest.mark.parametrize(("first", "other"), [("state_dict", "state_dict_ema"), ("net", "ema")])
def test_an_average_beside_the_weights_is_told_of(first: str, other: str) -> None:
    sentence = (
        f"last.pth holds weights under '{first}', which are read, and under '{other}', which are"
    )
    with pytest.warns(UserWarning, match=sentence):
        assert state_dict_in({other: OTHER, first: STATE}, "last.pth") == STATE


def test_of_a_student_and_a_teacher_none_is_chosen() -> None:
    complaint = (
        r"^dino\.pth holds several models, under 'student' and 'teacher': save the state dict of "
        r"the one that you mean in a file of its own\.$"
    )
    with pytest.raises(CheckpointError, match=complaint):
        state_dict_in({"student": STATE, "teacher": OTHER}, "dino.pth")


def loop() -> dict[str, Any]:
    """A dictionary that holds itself."""
    content: dict[str, Any] = {"weight": torch.ones(2)}
    content["model"] = content
    return content


def deep() -> dict[str, Any]:
    """Weights below more dictionaries than a program may call itself."""
    content: dict[str, Any] = dict(STATE)
    for _ in range(5000):
        content = {"model": content}
    return content


@pytest.mark.parametrize(
    "content",
    [[], None, {}, {"model": {}}, {"state": {0: {"exp_avg": torch.ones(2)}}}, {1: STATE}, deep()],
    ids=["list", "none", "empty", "empty model", "optimizer", "unnamed", "deep"],
)
def test_what_holds_no_tensors_by_name_is_refused(content: object) -> None:
    with pytest.raises(CheckpointError, match=r"^a\.pt holds no state dict: expected tensors by "):
        state_dict_in(content, "a.pt")


def test_a_dictionary_that_holds_itself_is_read_no_deeper_than_scripts_nest() -> None:
    assert list(state_dict_in(loop(), "a.pt")) == ["weight"]


def test_weights_in_an_unusual_place_are_pointed_at() -> None:
    complaint = r"tensors by name: save what is under 'net_g' and 'net_d' alone\.$"
    with pytest.raises(CheckpointError, match=complaint):
        state_dict_in({"net_g": STATE, "net_d": OTHER, "step": 3}, "gan.pt")

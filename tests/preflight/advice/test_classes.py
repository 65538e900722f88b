"""Class sets that contain one another, and heads that do not fit."""

from dataclasses import replace
from pathlib import Path

import torch

from wemoe_pl.checkpoints.heads import CosineHead, save_head
from wemoe_pl.data.suite import Suite
from wemoe_pl.preflight.advice.classes import Containment, contained_classes, look_at_heads


def test_a_set_within_another_is_found_whatever_the_spelling() -> None:
    found = contained_classes({"few": ["Hot Dog", "cow"], "many": ["cow", "hot-dog", "cat"]})
    assert found == [Containment("few", "many", 2, equal=False)]


def test_equal_sets_are_named_once() -> None:
    assert contained_classes({"a": ["x", "y"], "b": ["Y", "x"]}) == [
        Containment("a", "b", 2, equal=True)
    ]


def test_sets_that_only_overlap_and_unknown_ones_are_not_named() -> None:
    assert contained_classes({"a": ["x", "y"], "b": ["y", "z"], "c": []}) == []


def test_heads_that_fit_are_loaded_and_others_told(near_suite: Suite, tmp_path: Path) -> None:
    wide = CosineHead(torch.randn(10, 17), near_suite.load_head("dtd").classes, 10.0)
    short = CosineHead(torch.randn(2, 16), ("one", "two"), 10.0)
    sources = {"dtd": f"{tmp_path}/wide.safetensors", "mnist": f"{tmp_path}/short.safetensors"}
    for head, source in zip((wide, short), sources.values(), strict=True):
        save_head(Path(source), head, {})
    suite = replace(near_suite, heads={**near_suite.heads, **sources})
    heads, wrong = look_at_heads(suite, suite.experts)
    assert list(heads) == ["cars"]
    assert "17 features" in wrong["dtd"]
    assert "2 classes" in wrong["mnist"]


def test_a_missing_head_is_told(near_suite: Suite) -> None:
    suite = replace(near_suite, heads={**near_suite.heads, "cars": "nowhere.safetensors"})
    heads, wrong = look_at_heads(suite, ["cars"])
    assert heads == {}
    assert "nowhere.safetensors" in wrong["cars"]

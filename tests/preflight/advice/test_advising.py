"""The whole advice, from a suite to `advice.json`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import wemoe_pl
from wemoe_pl.data.model_suite import ModelSuite
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.preflight.advice import advising
from wemoe_pl.preflight.advice.advising import Advice, advise
from wemoe_pl.preflight.advice.methods import KNOWN_METHODS


@pytest.fixture(scope="module")
def advice(near_suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> tuple[Advice, Path]:
    """Advice with a few images, and the folder that it was written to."""
    out = tmp_path_factory.mktemp("advice") / "new"
    return advise(near_suite, images=3, out=out), out


@pytest.fixture
def without_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is estimated, which takes most of the time."""
    monkeypatch.setattr(advising, "costs_of", lambda suite: iter(()))


def test_the_names_are_public() -> None:
    assert wemoe_pl.advise is advise
    assert wemoe_pl.Advice is Advice


def test_all_that_was_found_is_in_the_file(advice: tuple[Advice, Path], near_suite: Suite) -> None:
    found, out = advice
    assert sorted(path.name for path in out.iterdir()) == [
        "advice.json", "advice.png", "advice.svg",
    ]  # fmt: skip
    written = json.loads((out / "advice.json").read_text("utf-8"))
    assert written["suite"] == "tiny"
    assert [s["text"] for s in written["sentences"]] == [s.text for s in found.sentences]
    assert len(written["verdicts"]) == len(written["costs"]) == len(KNOWN_METHODS)
    figures = written["figures"]
    assert figures["tasks"] == list(near_suite.experts)
    assert {"blocks.0.mlp", "norm", "all"} <= set(figures["lengths"])
    for layer, lengths in figures["lengths"].items():
        assert [*lengths.values()] == pytest.approx(found.vectors.lengths(layer).tolist())
    assert list(figures["reach"]) == list(figures["sign_conflicts"]) == ["2", "3"]
    assert figures["confidence"]["dtd"]["images"] == 3
    assert set(written["about"]) == {"images", "versions", "revision", "sources"}
    assert set(written["about"]["sources"]) == {
        "pretrained", "experts/cars", "experts/dtd", "experts/mnist",
    }  # fmt: skip


def test_advice_can_be_read_as_text_and_as_a_table(advice: tuple[Advice, Path]) -> None:
    found, _ = advice
    for sentence in found.sentences:
        assert sentence.text.split()[0] in str(found)
    assert str(found).startswith(("Warnings, tiny", "Nothing to warn of, tiny"))
    assert found.table().startswith("| method | verdict | reason | memory | MLPs | source |")
    assert found.table().count("\n") == len(KNOWN_METHODS) + 1
    assert "TaskVectorFigures(" not in repr(found)


@pytest.mark.usefixtures("without_costs")
def test_without_a_folder_nothing_is_written(
    near_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = advise(near_suite)
    assert [*tmp_path.iterdir()] == []
    assert found.figures["confidence"] == {}


@pytest.mark.usefixtures("without_costs")
def test_what_cannot_be_merged_is_left_out_of_all_figures(
    near_suite: Suite, tiny_suite: Suite
) -> None:
    mixed = replace(near_suite, experts={**near_suite.experts, "dtd": tiny_suite.experts["dtd"]})
    found = advise(mixed)
    assert list(found.left_out) == ["dtd"]
    assert found.figures["tasks"] == ["cars", "mnist"]
    assert found.sentences[0].text.startswith("The expert of dtd cannot be merged, and is left")


@pytest.mark.usefixtures("without_costs")
def test_models_in_memory_are_advised_on_too(
    near_suite: Suite, tiny_vit: Callable[..., nn.Module]
) -> None:
    experts = {}
    for task, state in near_suite.load_experts().items():
        experts[task] = near_suite.load_pretrained()
        experts[task].load_state_dict(dict(state))
    models = ModelSuite.of(
        {"pretrained": near_suite.load_pretrained(), **experts},
        near_suite.tasks,
        heads={task: near_suite.load_head(task) for task in near_suite.tasks},
        backbone=near_suite.backbone,
    )
    ours, theirs = advise(models), advise(near_suite)
    assert ours.figures["norm_ratio"] == pytest.approx(theirs.figures["norm_ratio"], rel=1e-6)
    assert ours.suite == "own models"


def test_wrong_arguments_end_in_one_sentence(near_suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="images is -1: give a number from 0"):
        advise(near_suite, images=-1)
    with pytest.raises(ConfigError, match="There is no suite 'minature'"):
        advise("minature")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file: choose another folder"):
        advise(near_suite, out=tmp_path / "file")

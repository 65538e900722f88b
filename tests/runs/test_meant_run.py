"""Which folder and which checkpoint a command is about."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.written_checkpoints import write_checkpoint
from helpers.written_runs import bare_results, results_record

from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.folder import CONFIG_HEADER, RunFolder
from wemoe_pl.runs.meant_run import Meant, meant_run, run_of_config, scored_run_of

RECIPE: dict[str, Any] = {
    "out": "where/it/was", "ckpt_path": None, "suite": {"name": "s"}, "tasks": None, "unseen": [],
    "model": {"class_path": "M", "init_args": {"merge": {"class_path": "WEMoE"}}},
    "trainer": {},
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """The folder of a fit."""
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    write_checkpoint(folder.last_checkpoint)
    folder.config.write_text(f"{CONFIG_HEADER}.\n{yaml.safe_dump(RECIPE)}")
    return folder


@pytest.fixture
def meant(run: RunFolder) -> Callable[..., Meant]:
    def find(command: str = "test", out: bool = False, **values: Any) -> Meant:
        configs = ["adapt_miniature", str(run.config)]
        return meant_run(command, configs, RECIPE | values, out, "ckpt_path" in values)

    return find


def test_a_run_is_used_where_its_config_lies_with_its_own_checkpoint(
    run: RunFolder, meant: Callable[..., Meant]
) -> None:
    for command in ("test", "validate", "predict"):
        found = meant(command)
        assert (found.out, found.checkpoint) == (run.path, run.last_checkpoint)
        assert found.notes == [f"Using the checkpoint of this run: {run.last_checkpoint}"]


def test_another_folder_or_no_checkpoint_can_be_asked_for(
    run: RunFolder, meant: Callable[..., Meant]
) -> None:
    assert meant(out=True).out == Path("where/it/was")
    assert meant(ckpt_path="none").checkpoint is None
    assert meant(ckpt_path="last").checkpoint == run.last_checkpoint


def test_a_fit_by_the_config_of_another_begins_anew_where_the_config_says(
    meant: Callable[..., Meant],
) -> None:
    assert meant("fit") == Meant(Path("where/it/was"), None, [])


@pytest.mark.parametrize(
    "other", [{"suite": {"name": "t"}}, {"tasks": ["a"]}, {"model": {"class_path": "M"}}]
)
def test_another_model_gets_no_checkpoint_and_is_told_why(
    other: dict[str, Any], meant: Callable[..., Meant]
) -> None:
    found = meant(**other)
    assert found.checkpoint is None
    assert "is not used, because the model has changed: " in found.notes[0]


def test_a_config_that_lies_in_no_run_is_of_none(run: RunFolder, tmp_path: Path) -> None:
    lonely = tmp_path / "config.yaml"
    lonely.write_text("out: a\n")
    assert run_of_config([str(lonely)]) is None
    assert run_of_config([str(run.config), str(lonely)]) == run
    assert run_of_config(["adapt_miniature"]) is None


def test_a_checkpoint_that_is_not_there_is_told(meant: Callable[..., Meant]) -> None:
    with pytest.raises(CheckpointError, match=r"There is no checkpoint nowhere\.ckpt"):
        meant(ckpt_path="nowhere.ckpt")


SOURCES = {"pretrained": {"source": "a", "sha256": "0" * 64}}


def write_results(run: RunFolder, command: str) -> None:
    results = bare_results({"cars": 0.5}, sources=SOURCES, run=results_record(command=command))
    run.results.write_text(json.dumps(results))


def test_a_static_model_is_meant_as_it_was_scored_by_the_test_of_the_config(
    run: RunFolder, tmp_path: Path
) -> None:
    run.last_checkpoint.unlink()
    configs = ["adapt_miniature", str(run.config)]
    assert scored_run_of(configs, RECIPE, SOURCES) is None  # it was not scored
    write_results(run, "test")
    found = scored_run_of(configs, RECIPE, SOURCES)
    assert found is not None
    assert found["accuracy"] == {"cars": 0.5}
    assert scored_run_of(configs, {**RECIPE, "tasks": ["a"]}, SOURCES) is None
    assert scored_run_of(configs, RECIPE, {"pretrained": {}}) is None  # the files have changed
    assert scored_run_of(["adapt_miniature"], RECIPE, SOURCES) is None
    assert scored_run_of([], RECIPE, SOURCES) is None
    write_results(run, "fit")
    assert scored_run_of(configs, RECIPE, SOURCES) is None  # they are of what was fitted

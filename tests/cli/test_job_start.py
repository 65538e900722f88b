"""A job begins in the folder that its arguments mean, anew or where a checkpoint was saved."""

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonargparse import Namespace

from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.cli.job_start import compare_with_folder, enter_folder, session_of
from wemoe_pl.runs.session import Command


def recipe_in(out: Path, checkpoint: Path | None = None) -> dict[str, Any]:
    given = checkpoint and str(checkpoint)
    return {"out": str(out), "ckpt_path": given, "trainer": {"fast_dev_run": False}}


def config_of(recipe: dict[str, Any]) -> Namespace:
    trainer = Namespace(max_steps=5)
    parts = {"predictions": Namespace(), "checkpoint": Namespace(), "trainer": trainer}
    return Namespace({**recipe, **parts})


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_job_in_an_empty_folder_begins_anew(command: Command, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "a")
    config = config_of(recipe)
    with closing(session_of(command, ["--out", config.out], recipe, is_fresh=False)) as session:
        enter_folder(session, config, recipe)
    assert (session.folder.path, session.step) == (tmp_path / "a", 0)
    assert config.ckpt_path is None
    assert config.checkpoint.dirpath == str(tmp_path / "a/checkpoints")


@pytest.mark.parametrize(("command", "step"), [("fit", 1), ("test", 0)])
def test_a_fit_goes_on_from_a_checkpoint_that_others_score(
    command: Command, step: int, checkpoint: Path, tmp_path: Path
) -> None:
    recipe = recipe_in(tmp_path / "a", checkpoint)
    config = config_of(recipe)
    arguments = ["--ckpt_path", str(checkpoint)]
    with closing(session_of(command, arguments, recipe, is_fresh=False)) as session:
        enter_folder(session, config, recipe)
    assert config.ckpt_path == str(checkpoint)
    assert session.step == step
    assert session.resumed_checkpoint == (checkpoint if command == "fit" else None)


@pytest.mark.parametrize("is_fresh", [False, True])
def test_a_checkpoint_knows_whether_the_same_command_would_begin_anew(
    is_fresh: bool, tmp_path: Path
) -> None:
    recipe = recipe_in(tmp_path / "a")
    config, last = config_of(recipe), LastCheckpoint(str(tmp_path / "a" / "checkpoints"))
    trainer: Any = SimpleNamespace(callbacks=[last])
    model: Any = SimpleNamespace(frozen_sources={}, check_frozen=lambda checkpoint: None)
    data: Any = SimpleNamespace(sets=SimpleNamespace(identities=lambda command: {}))
    with closing(session_of("fit", ["--out", config.out], recipe, is_fresh)) as session:
        enter_folder(session, config, recipe)
        compare_with_folder(session, recipe, trainer, model, data)
    assert last.begins_anew is is_fresh

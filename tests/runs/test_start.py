"""How a command begins in a folder: anew, from a checkpoint, or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.written_checkpoints import run_record, write_checkpoint
from helpers.written_runs import bare_results

from wemoe_pl.errors import ConfigError
from wemoe_pl.runs.folder import CONFIG_HEADER, RunFolder
from wemoe_pl.runs.start import Start, find_start
from wemoe_pl.system.files import sha256

RECIPE: dict[str, Any] = {"seed_everything": 0, "trainer": {"max_steps": 10}}
LONGER: dict[str, Any] = {"seed_everything": 0, "trainer": {"max_steps": 20}}
RESULTS = bare_results()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "a")


def begin(folder: RunFolder, step: int = 4, began_from: str | None = None) -> None:
    """Leave what an interrupted fit leaves."""
    folder.checkpoints.mkdir(parents=True)
    folder.config.write_text(f"{CONFIG_HEADER}.\n{yaml.safe_dump(RECIPE)}")
    write_checkpoint(folder.last_checkpoint, step, run=run_record(began_from=began_from))


def finish(folder: RunFolder) -> None:
    """Leave what a finished fit leaves."""
    begin(folder, step=10)
    scored = {"sha256": sha256(folder.last_checkpoint), "step": 10}
    folder.results.write_text(json.dumps({**RESULTS, "checkpoint": scored}))


def test_an_empty_folder_is_begun_in_from_what_was_given(folder: RunFolder) -> None:
    assert find_start(folder, RECIPE) == Start(folder)
    given = Path("other.ckpt")
    assert find_start(folder, RECIPE, given) == Start(
        folder, checkpoint=given, asked_to_change=True
    )
    assert find_start(folder, RECIPE, fresh=True) == Start(folder)


def test_an_unfinished_run_is_gone_on_with_by_the_same_config(folder: RunFolder) -> None:
    begin(folder)
    last = folder.last_checkpoint
    start = find_start(folder, RECIPE)
    assert start == Start(folder, checkpoint=last)
    assert start.goes_on
    with pytest.raises(ConfigError, match=r"unfinished run .*max_steps was 10 .* --fresh to begin"):
        find_start(folder, LONGER)
    assert find_start(folder, LONGER, last) == Start(folder, checkpoint=last, asked_to_change=True)


def test_a_finished_run_is_shown_extended_or_left_alone(folder: RunFolder) -> None:
    finish(folder)
    last = folder.last_checkpoint
    assert find_start(folder, RECIPE).finished is not None
    assert find_start(folder, RECIPE, last).finished is not None
    assert find_start(folder, LONGER, last) == Start(folder, checkpoint=last, asked_to_change=True)
    with pytest.raises(ConfigError, match=r"finished run of another config: .* to extend it\.$"):
        find_start(folder, LONGER)
    with pytest.raises(ConfigError, match=r"seed_everything was 0 .* new run has finished\.$"):
        find_start(folder, {**RECIPE, "seed_everything": 1})


def test_a_run_that_began_from_another_is_known_by_that(folder: RunFolder, tmp_path: Path) -> None:
    other = tmp_path / "other.ckpt"
    other.write_bytes(b"another run's")
    begin(folder, began_from=sha256(other))
    assert find_start(folder, RECIPE, other) == Start(folder, checkpoint=folder.last_checkpoint)
    third = tmp_path / "third.ckpt"
    third.write_bytes(b"of a third run")
    assert find_start(folder, RECIPE, third).checkpoint == third


def test_fresh_builds_below_the_run_that_it_replaces(folder: RunFolder) -> None:
    finish(folder)
    assert find_start(folder, LONGER, fresh=True) == Start(folder.next, replaces=folder)
    begin(folder.next)
    last = folder.next.last_checkpoint
    assert find_start(folder, RECIPE, fresh=True) == Start(folder.next, folder, last)
    assert find_start(folder, LONGER, fresh=True) == Start(folder.next, replaces=folder)


def test_what_is_no_run_is_refused_even_by_fresh(folder: RunFolder) -> None:
    folder.path.mkdir()
    folder.results.write_text("{}")
    for fresh in (False, True):
        with pytest.raises(ConfigError, match=r"results\.json or config\.yaml .* such as .*a-2\."):
            find_start(folder, RECIPE, fresh=fresh)

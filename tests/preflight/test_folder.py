"""What is in a folder, and whether it can be written to."""

import os
from pathlib import Path

import pytest

from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.preflight.folder import check_writable, state_in_words


def test_what_is_in_a_folder_is_told(folder: Path) -> None:
    assert state_in_words(folder / "none") == "nothing yet"
    (folder / "empty").mkdir()
    assert state_in_words(folder / "empty") == "nothing yet"
    assert state_in_words(folder / "fitted") == "a finished run"
    assert state_in_words(folder / "static") == "a finished run"
    assert state_in_words(folder / "interrupted") == "an unfinished run, saved at step 4"
    assert state_in_words(folder / "images") == "no run, but folder, mnist, parquet"
    (folder / "empty/results.json").write_text("{}")
    assert state_in_words(folder / "empty") == (
        "files that are named like those of a run, but were not written by wemoe-pl"
    )


def test_a_damaged_checkpoint_is_told(folder: Path) -> None:
    last = folder / "interrupted/checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"last\.ckpt is damaged"):
        state_in_words(folder / "interrupted")


def test_a_folder_can_be_made_below_one_that_is_there(folder: Path) -> None:
    check_writable(folder / "a/b/c")
    assert not (folder / "a").exists()
    check_writable(Path("relative/one"))


def test_a_file_in_the_place_of_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"suite\.yaml is a file: choose another folder"):
        check_writable(folder / "suite.yaml" / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="everything can be written to by root")
def test_a_folder_that_cannot_be_written_to_is_refused(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match=r"Nothing can be written to .*closed"):
        check_writable(folder / "closed" / "run")

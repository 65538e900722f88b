"""What lies in the folder of a run, and what state that is."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.written_checkpoints import write_checkpoint
from helpers.written_runs import bare_results, results_record

from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.checkpoint import ENDED
from wemoe_pl.runs.folder import CONFIG_HEADER, RunFolder, RunState, is_of_run
from wemoe_pl.system.files import sha256


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def state_of(folder: RunFolder) -> RunState:
    return folder.state


def save(folder: RunFolder, ended: bool = True, step: int = 1) -> None:
    last: dict[str, Any] = {"rng": {}, "validated_step": None, ENDED: ended}
    callbacks = {"LastCheckpoint": last, "Curves": {"points": {}}}
    write_checkpoint(folder.last_checkpoint, step, callbacks=callbacks)


def score(folder: RunFolder, **more: Any) -> None:
    folder.path.mkdir(exist_ok=True)
    folder.results.write_text(json.dumps(bare_results(**more)))


def test_a_folder_in_which_nothing_could_be_lost_is_empty(folder: RunFolder) -> None:
    assert state_of(folder) == RunState.EMPTY
    folder.path.mkdir()
    for name in ("log.txt", "predictions.csv"):
        (folder.path / name).touch()
    folder.config.write_text(f"{CONFIG_HEADER}.\nout: a\n")
    assert state_of(folder) == RunState.EMPTY


def test_a_checkpoint_without_results_is_of_an_unfinished_run(folder: RunFolder) -> None:
    save(folder)
    assert state_of(folder) == RunState.UNFINISHED


def test_results_that_belong_to_the_checkpoint_are_of_a_finished_run(folder: RunFolder) -> None:
    save(folder)
    score(folder, checkpoint={"sha256": sha256(folder.last_checkpoint), "step": 1})
    assert state_of(folder) == RunState.FINISHED
    save(folder, step=2)
    assert state_of(folder) == RunState.UNFINISHED


def test_results_without_any_checkpoint_are_of_a_static_merge_that_was_scored(
    folder: RunFolder,
) -> None:
    score(folder, checkpoint=None)
    assert state_of(folder) == RunState.FINISHED
    save(folder)  # which somebody has put there
    assert state_of(folder) == RunState.UNFINISHED


@pytest.mark.parametrize(
    ("ended", "state"), [(True, RunState.FINISHED), (False, RunState.UNFINISHED)]
)
def test_results_of_earlier_versions_are_finished_if_the_training_had_ended(
    ended: bool, state: RunState, folder: RunFolder
) -> None:
    save(folder, ended)
    score(folder)
    assert state_of(folder) == state


def test_the_results_of_a_trial_are_in_nobodys_way(folder: RunFolder) -> None:
    score(folder, fast_dev_run=True)
    assert state_of(folder) == RunState.EMPTY


@pytest.mark.parametrize("contents", ["", "[", "[]", "{}", '{"suite": 1}', "[" * 100_000])
def test_results_of_another_program_are_foreign_and_refused(
    contents: str, folder: RunFolder
) -> None:
    folder.path.mkdir()
    folder.results.write_text(contents)
    assert state_of(folder) == RunState.FOREIGN
    with pytest.raises(CheckpointError, match=r"results\.json is damaged or was not written by"):
        folder.read_results()


def test_a_config_of_ones_own_is_foreign(folder: RunFolder) -> None:
    folder.path.mkdir()
    folder.config.write_text("suite: mine.yaml\n")
    assert state_of(folder) == RunState.FOREIGN


def test_a_folder_holds_a_fit_if_there_is_a_checkpoint_or_results_of_one(
    folder: RunFolder,
) -> None:
    assert not folder.holds_fit
    score(folder, run=results_record(command="test"))
    assert not folder.holds_fit
    score(folder, run=results_record())
    assert folder.holds_fit
    folder.results.unlink()
    save(folder)
    assert folder.holds_fit


def test_a_free_folder_beside_it_is_proposed(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder.free_neighbour() == folder.path.with_name("run-2")
    folder.path.with_name("run-2").mkdir()
    assert folder.free_neighbour() == folder.path.with_name("run-3")
    monkeypatch.chdir(folder.path.with_name("run-2"))
    assert RunFolder(Path()).free_neighbour() == folder.path.with_name("run-2-2")


def test_only_what_is_gone_on_with_stays(folder: RunFolder) -> None:
    last = folder.last_checkpoint
    leftovers = [folder.path / ".results.12.part.json", last.with_name(".last.7.part.ckpt")]
    leftovers.append(folder.logs / ".metrics.7.part.csv")
    kept = [folder.path / ".film.partial", folder.path / "other/.results.12.part.json", last]
    for path in (*leftovers, *kept, folder.results):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    folder.remove_leftovers()
    assert not any(path.exists() for path in leftovers)
    folder.let_go(keep_checkpoint=True)
    assert not folder.results.exists()
    assert all(path.exists() for path in kept)
    folder.let_go(keep_checkpoint=False)
    assert not last.exists()


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("results.json", True), ("checkpoints", True), (".next", True),
        ("routing.png", True), ("accuracy.svg", True), ("encoder.safetensors", True),
        ("head.safetensors", True), ("images", True),
        ("notes.txt", False), ("command.json", False), ("log.txt", False), ("export", False),
        ("test", False), ("photo.png", False), ("images.parquet", False),
    ],
)  # fmt: skip
def test_the_files_of_a_run_are_known_by_name(name: str, leaves: bool, folder: RunFolder) -> None:
    assert is_of_run(name, folder) == leaves


def test_the_lock_lies_beside_the_folder_and_in_a_mount_point(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder.lock == folder.path.with_name(".run.lock")
    folder.path.mkdir()
    assert folder.lock == folder.path.with_name(".run.lock")
    monkeypatch.setattr(Path, "is_mount", lambda path: path == folder.path)
    assert folder.lock == folder.path / ".lock"
    assert not folder.can_be_replaced


def test_all_links_to_a_folder_have_one_lock(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.path.mkdir()
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "latest"
    link.symlink_to(folder.path)
    assert RunFolder(link).lock == folder.lock
    monkeypatch.chdir(folder.path)
    assert RunFolder(Path()).lock == folder.lock

"""The files of a sweep that it reads again, and what becomes of damaged ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.sweeps import JOB, FakeRunner, run_sweep
from helpers.written_checkpoints import write_checkpoint

from wemoe_pl.cli.sweep.records import read_choice, read_command
from wemoe_pl.errors import CheckpointError
from wemoe_pl.system.files import sha256

POINT = "scaling=0.4,seed_everything=1"
DAMAGED = ["", "{", "null", "[1]", "7", '{"command": []}', '{"command": [1], "files": null}',
           '{"command": [], "files": {"a": "b"}}', '{"command": [], "files": null, "since": 1}',
           '{"command": [], "command": [], "files": null}', "[" * 100_000]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_command_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "command.json"
    assert read_command(path) == {"command": [], "files": None}
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"command\.json is damaged or of a later wemoe-pl: "):
        read_command(path)


def test_a_command_of_an_earlier_version_is_a_list_of_words(tmp_path: Path) -> None:
    path = tmp_path / "command.json"
    path.write_text('["fit", "--config", "a"]')
    assert read_command(path) == {"command": ["fit", "--config", "a"], "files": None}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"folder": 1, "information": 0.5}', '{"folder": "a"}',
     '{"folder": "a", "information": NaN}', '{"folder": "a", "information": 1, "seed": 2}'],
)  # fmt: skip
def test_a_damaged_choice_is_warned_of_and_made_again(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep" / "chosen.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"chosen\.json is damaged"):
        read_choice(path)
    with pytest.warns(UserWarning, match=r"chosen\.json is damaged .* It is written anew\."):
        run_sweep(tmp_path, *JOB, "--choose")
    choice = read_choice(path)
    assert choice is not None
    assert choice["information"] == pytest.approx(0.8)


def test_another_choice_than_before_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_sweep(tmp_path, *JOB, "--choose")
    path = tmp_path / "sweep" / "chosen.json"
    other = {"model.merge.scaling": "0.9", "folder": "elsewhere"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **other}))
    capsys.readouterr()
    run_sweep(tmp_path, *JOB, "--choose")
    assert "The earlier choice was elsewhere.\n" in capsys.readouterr().out


# --- damaged points --------------------------------------------------------------------------


def changed(results: dict[str, Any], **changes: Any) -> str:
    return json.dumps({**results, **changes})


@pytest.mark.parametrize(
    "damage",
    [
        lambda results: "",
        lambda results: json.dumps(results)[:-20],
        lambda results: changed(results, mean=0.9),
        lambda results: changed(results, accuracy={"cars": "much"}),
        lambda results: json.dumps({k: v for k, v in results.items() if k != "seed"}),
    ],
)
def test_a_point_with_damaged_results_is_run_again(damage: Any, tmp_path: Path) -> None:
    run_sweep(tmp_path, *JOB)
    path = tmp_path / "sweep" / POINT / "results.json"
    whole = path.read_text()
    path.write_text(damage(json.loads(whole)))
    with pytest.warns(UserWarning, match=r"results\.json is damaged .* The point is run again\."):
        runner = run_sweep(tmp_path, *JOB)
    assert [Path(command[-1]).name for command in runner.commands] == [POINT]
    assert path.read_text() == whole


@pytest.mark.parametrize("text", ["", "null", DAMAGED[-3]])
def test_a_point_whose_command_is_damaged_is_run_again(text: str, tmp_path: Path) -> None:
    run_sweep(tmp_path, *JOB)
    record = tmp_path / "sweep" / POINT / "command.json"
    record.write_text(text)
    with pytest.warns(UserWarning, match=r"command\.json is damaged .* The point is run again\."):
        runner = run_sweep(tmp_path, *JOB)
    assert [Path(command[-1]).name for command in runner.commands] == [POINT]
    assert run_sweep(tmp_path, *JOB).commands == []


def test_a_point_with_a_damaged_checkpoint_begins_anew(tmp_path: Path) -> None:
    run_sweep(tmp_path, *JOB)
    folder = tmp_path / "sweep" / POINT
    last = write_checkpoint(folder / "checkpoints" / "last.ckpt")
    results = json.loads((folder / "results.json").read_text())
    scored = {"sha256": sha256(last), "step": 1}
    (folder / "results.json").write_text(changed(results, checkpoint=scored))
    assert run_sweep(tmp_path, *JOB).commands == []
    last.write_bytes(last.read_bytes()[:-50])
    left: list[bool] = []

    class Watching(FakeRunner):
        def __call__(self, *arguments: Any) -> int:
            left.append(last.exists())
            return super().__call__(*arguments)

    with pytest.warns(UserWarning, match=r"last\.ckpt is damaged .* The point is run again\."):
        run_sweep(tmp_path, *JOB, runner=Watching())
    assert left == [False]


class Keeping(FakeRunner):
    """Looks at a file before the command that could replace it."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.texts: list[str] = []

    def __call__(self, command: Any, log: Path, environment: Any) -> int:
        if log.parent == self.path.parent:
            self.texts.append(self.path.read_text())
        return super().__call__(command, log, environment)


def test_what_another_command_has_left_is_not_touched(tmp_path: Path) -> None:
    """The command of the point refuses it, and says what to do."""
    job = ("--config", "task_arithmetic", "--grid", "seed_everything=0")
    run_sweep(tmp_path, *job)
    results = tmp_path / "sweep" / "seed_everything=0" / "results.json"
    results.write_text("{")
    runner = Keeping(results)
    run_sweep(tmp_path, *job, "--data.test_batch_size", "7", runner=runner)
    assert runner.texts == ["{"]

"""What is read of runs, and what is refused."""

import json
from pathlib import Path

import pytest
from helpers.written_runs import printed_table, write_run

from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.reporting.scored_runs import read_runs


def test_results_of_an_older_version_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "a", "WEMoE", {"cars": 0.6})
    results = json.loads((folder / "results.json").read_text())
    for key in ("experts", "corruption"):
        del results[key]
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "config.yaml").unlink()
    assert printed_table(capsys, tmp_path)[2][0] == "WEMoE"


@pytest.mark.parametrize(
    ("contents", "kind", "message"),
    [
        (None, ConfigError, r"No results\.json lies in .* run `wemoe-pl fit` or `test` first"),
        ("{", CheckpointError, r"results\.json is damaged or was not written by wemoe-pl"),
        ("[1]", CheckpointError, r"results\.json is damaged or was not written by wemoe-pl"),
        ('{"a": 1}', CheckpointError, r"results\.json is damaged or was not written by wemoe-pl"),
    ],
)
def test_what_is_no_run_is_refused(
    contents: str | None, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    if contents is not None:
        (tmp_path / "results.json").write_text(contents)
    with pytest.raises(kind, match=message):
        read_runs([str(tmp_path)])


@pytest.mark.parametrize(
    "damaged", ["a: [", "- a", "text", "", "a: !!python/name:os.system", "class_path: 3", "\0"]
)
def test_a_damaged_config_is_named(damaged: str, tmp_path: Path) -> None:
    (write_run(tmp_path / "a", "TIES", {"cars": 0.6}) / "config.yaml").write_text(damaged)
    with pytest.raises(CheckpointError, match=r"config\.yaml is damaged or was not .* delete it"):
        read_runs([str(tmp_path)])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no folder .*nowhere"):
        read_runs([str(tmp_path / "nowhere")])

"""What is read of a `results.json`: every field, of its type, and nothing that is damaged."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from helpers.written_runs import bare_results, results_record

from wemoe_pl.errors import CheckpointError
from wemoe_pl.runs.results_schema import Results, read_results_file

ACCURACY = {"cars": 0.5, "dtd": 0.75}
REQUIRED = sorted(Results.__required_keys__)
GUARD: dict[str, Any] = {"action": "warn", "collapsed": {}, "restored_step": None}
KEPT = Path(__file__).parent.parent / "kept" / "dotted_names" / "fitted" / "results.json"


def write(tmp_path: Path, **changes: Any) -> Path:
    """Results that `...` leaves fields out of."""
    results = {k: v for k, v in bare_results(ACCURACY, **changes).items() if v is not ...}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    return path


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    full = {"run": results_record(), "checkpoint": {"sha256": "0" * 64, "step": 3}, "note": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_results_file(write(tmp_path, **full)) == bare_results(ACCURACY, **full)
        assert read_results_file(KEPT)["method"] == "E-WEMoE"


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_is_named(field: str, tmp_path: Path) -> None:
    path = write(tmp_path, **{field: ...})
    with pytest.raises(CheckpointError, match=rf"{path} is damaged or .*: '{field}' is missing\."):
        read_results_file(path)


@pytest.mark.parametrize("field", [*REQUIRED, "run", "guard", "corruption", "unknown_task"])
def test_a_field_of_another_type_is_named(field: str, tmp_path: Path) -> None:
    path = write(tmp_path, **{field: [{"a": "b"}]})
    with pytest.raises(CheckpointError, match=rf"'{field}(\.0)?' is .* and should be "):
        read_results_file(path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"accuracy": {"cars": "0.5", "dtd": 0.75}}, r"'accuracy\.cars' is '0\.5' and should be a"),
        ({"accuracy": {"cars": 1.5, "dtd": 0.75}}, r"'accuracy\.cars' is 1\.5 and should be less"),
        ({"accuracy": {"cars": 0.5}}, r"its 'tasks' are not those of 'accuracy'"),
        ({"mean": 0.9}, r"its 'mean' is 0\.9, which is not the mean of 'accuracy'"),
        ({"seconds": {"fit": float("inf")}}, r"'Infinity' is not a number"),
        ({"reference": {"pretrained": {"cars": True}}}, r"'reference\.pretrained\.cars' is True"),
        ({"sources": {"a": {"source": "b", "sha256": "z"}}}, r"'sources\.a\.sha256' is 'z'"),
        ({"checkpoint": {"sha256": "0" * 64}}, r"'checkpoint\.step' is missing"),
        ({"run": results_record(tested_checkpoint=1)}, r"'run\.tested_checkpoint' is 1"),
        ({"guard": {"action": "warn", "collapsed": {"a": -1}}}, r"'guard\.collapsed\.a' is -1"),
    ],
)
def test_what_no_run_has_scored_is_refused(
    changes: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        read_results_file(write(tmp_path, **changes))


def test_a_field_that_comes_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace('"mean"', '"seed": 4, "mean"'))
    with pytest.raises(CheckpointError, match=r"'seed' comes twice\. Move it away"):
        read_results_file(path)


def test_a_field_of_a_later_version_is_warned_of_and_kept(tmp_path: Path) -> None:
    path = write(tmp_path, energy=3.5, guard={**GUARD, "seen": 1})
    with pytest.warns(
        UserWarning, match=r"has the fields 'guard\.seen', 'energy', which this version"
    ):
        assert read_results_file(path)["energy"] == 3.5

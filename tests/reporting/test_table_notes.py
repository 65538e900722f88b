"""The notes below a table of runs."""

from pathlib import Path

import pytest
from helpers.written_runs import write_run

from wemoe_pl.reporting.report import report


def test_methods_that_are_told_the_task_are_named_and_not_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = {"total": 1234567, "trainable": 0}
    write_run(tmp_path / "emr", "EMR", {"cars": 0.9}, told_task=True, parameters=size)
    write_run(tmp_path / "experts", "Individual", {"cars": 0.95}, parameters=size)
    write_run(tmp_path / "ties", "TIES", {"cars": 0.5}, told_task=False)
    write_run(tmp_path / "wemoe", "WEMoE", {"cars": 0.6})
    report([str(tmp_path)])
    out = capsys.readouterr().out
    cells = [line.split(" | ")[1] for line in out.splitlines() if line.startswith("| ")][2:]
    assert cells == ["90.0", "95.0", "50.0", "**60.0**"]
    assert (
        "These methods are told the task of every image, so they are not compared with the others: "
        "EMR (of 1,234,567 parameters), individual (of 1,234,567 parameters)."
    ) in out


def test_columns_of_unknown_tasks_say_by_which_rules_the_task_is_inferred(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"accuracy": {"cars": 0.4}, "task_accuracy": {"cars": 0.5}, "mean": 0.4}
    write_run(tmp_path / "wemoe", "WEMoE", {"cars": 0.6}, unknown_task={"entropy": scores})
    report([str(tmp_path)])
    out = capsys.readouterr().out
    assert "| task unknown (entropy) |" in out
    assert (
        "Task unknown: how often class and task are both right when the task of an image is "
        "inferred (entropy: the task whose head is the most certain)."
    ) in out
    assert "routing:" not in out

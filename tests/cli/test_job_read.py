"""A job that is read takes what the commands take, tells nothing and leaves nothing."""

from pathlib import Path

import pytest

from wemoe_pl.cli.job import build_job
from wemoe_pl.cli.job_read import ReadCLI


@pytest.mark.parametrize("switch", ["--quiet", "-q", "--fresh"])
def test_switches_of_the_commands_are_taken(
    switch: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])
    out = tmp_path / "out"
    job = build_job(["--config", "task_arithmetic", switch, "--out", str(out)], ReadCLI)
    assert job.model.method == "TaskArithmetic"
    assert capfd.readouterr().out == ""
    assert not out.exists()

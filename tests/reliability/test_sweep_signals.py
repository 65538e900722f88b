"""SIGINT to all processes of a sweep, and SIGTERM to it alone: it goes on where it was."""

import signal
from pathlib import Path

import pytest
from helpers.interrupted import kept_step, state_of
from helpers.processes import Running

from wemoe_pl.runs.folder import RunFolder

SHORT, LONG = 2, 100_000  # steps of the first point, and of the second, which never ends


@pytest.mark.parametrize(
    ("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["INT", "TERM"]
)
def test_a_sweep_that_is_stopped_says_what_is_done_and_goes_on_with_the_rest(
    number: signal.Signals, to_all: bool, job: list[str], out: Path, tmp_path: Path
) -> None:
    place = job.index("--trainer.max_steps")
    command = ["sweep", *job[:place], *job[place + 2 :], "--out", str(out)]
    command += ["--grid", f"trainer.max_steps={SHORT},{LONG}"]
    done, stopped = out / f"max_steps={SHORT}", out / f"max_steps={LONG}"
    checkpoint, results = RunFolder(stopped).last_checkpoint, RunFolder(done).results
    first_results, steps = 0, []
    for life in ("first", "second"):
        before = state_of(checkpoint)
        with Running(command, tmp_path / life) as run:
            assert run.wait_until(lambda before=before: state_of(checkpoint) != before), run.output  # type: ignore[misc]
            run.send(number, to_all)
            assert run.wait() == 128 + number, run.output
            assert not [process for process in run.others if "resource_tracker" not in process]
        assert run.last_line == (
            f"wemoe-pl: Stopped by {number.name}; nothing was left half-written. 1 of 2 points are "
            f"done, and {stopped.name} stopped midway: the same command goes on with what is left."
        )
        assert "Traceback" not in run.output
        first_results = first_results or state_of(results)
        assert state_of(results) == first_results  # of a point that is not run again
        steps.append(kept_step(stopped))
    assert steps[1] > steps[0] > 0
    assert (tmp_path / "second").read_text().startswith("1 of 2 points are done.")
    log = (stopped / "log.txt").read_text()
    assert f"Step {steps[0]} of {LONG} is kept in {checkpoint}" in log
    assert f"{done.name} runs." not in (tmp_path / "second").read_text()

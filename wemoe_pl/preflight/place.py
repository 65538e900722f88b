"""Where a job would write, and what is there."""

import os
from pathlib import Path

from wemoe_pl.errors import CheckpointError
from wemoe_pl.preflight.findings import Findings
from wemoe_pl.resuming import has_ended
from wemoe_pl.run_checkpoint import RESULTS, last_checkpoint, read_checkpoint
from wemoe_pl.tasks import name_some


def state_of(out: Path) -> str:
    """What is in the folder of a run: nothing, a run that has ended or has not, or other files.

    Raises:
        CheckpointError: there is a checkpoint that is damaged.
    """
    last = last_checkpoint(out)
    scored = (out / RESULTS).is_file()
    if last.is_file() and not (scored and has_ended(last)):
        return f"an unfinished run, which has come to step {read_checkpoint(last)['global_step']}"
    if scored:
        return "a finished run"
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    return f"no run, but {name_some(there)}" if there else "nothing yet"


def look_at_place(out: Path, findings: Findings) -> str:
    """What is in the folder of a run; a problem if nothing could be written there."""
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        findings.problem("out", f"{nearest} is a file: choose another folder with --out.")
        return "a file"
    if not os.access(nearest, os.W_OK | os.X_OK):
        findings.problem(
            "out", f"Nothing can be written to {nearest}: choose another folder with --out."
        )
    try:
        return state_of(out)
    except CheckpointError as error:
        findings.warning("out", str(error))
        return "a run with a damaged checkpoint"

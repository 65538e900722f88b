"""Check the folder that a job would write to, and describe its contents."""

import os
from pathlib import Path

from wemoe_pl.data.tasks import name_some
from wemoe_pl.errors import ConfigError
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import RunFolder, RunState
from wemoe_pl.runs.start import Start


def check_writable(out: Path) -> None:
    """Raise `ConfigError` unless a folder can be written to, or created; it is not created."""
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{nearest} is a file: choose another folder with --out.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"Nothing can be written to {nearest}: choose another folder with --out.")


def state_in_words(out: Path) -> str:
    """Describe what the folder of a run holds: nothing, a run in some state, or other files.

    Raises:
        CheckpointError: the folder has a checkpoint that is damaged.
    """
    folder = RunFolder(out)
    state = folder.state
    if state is RunState.FINISHED:
        return "a finished run"
    if state is RunState.FOREIGN:
        return "files that are named like those of a run, but were not written by wemoe-pl"
    if state is RunState.UNFINISHED:
        last = folder.last_checkpoint
        step = read_checkpoint(last)["global_step"] if last.is_file() else 0
        return f"an unfinished run, saved at step {step}"
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    return f"no run, but {name_some(there)}" if there else "nothing yet"


def what_then(start: Start) -> str:
    """Describe what the job would do with the run in its folder; return "" if there is none."""
    if start.finished is not None:
        return "This very job has finished there: running it again would only show its table."
    if start.replaces is not None:
        return "The job would replace it when it has finished."
    if start.checkpoint is not None:
        return f"The job would go on from {start.checkpoint}."
    return ""

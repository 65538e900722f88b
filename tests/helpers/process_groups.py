"""The processes of a group: a command and all that it has started."""

import os
import signal
from contextlib import suppress
from pathlib import Path


def members(group: int) -> dict[int, str]:
    """The processes of a group that have not ended, with their commands."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            state, _, its_group, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(its_group) == group and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    return found


def kill_group(group: int) -> None:
    """Kill what is left of a group."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)

"""The processes of a group: a command and all that it has started."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path


def members(group: int) -> dict[int, str]:
    """The processes of a group that have not ended, with their commands.

    One that is ending gives its memory back first, and with it its command, but still runs by
    its state.
    """
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            *_, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            command = (folder / "cmdline").read_text().replace("\0", " ")
            if int(its_group) == group and command:
                found[int(folder.name)] = command
    return found


def kill_group(group: int) -> None:
    """Kill what is left of a group."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def ended_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid

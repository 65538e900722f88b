"""`wemoe-pl` in processes of its own, which tests can kill.

They are forked from a server that has imported everything, which takes seconds, once.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from helpers.process_groups import kill_group, members

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["wemoe_pl.cli.verbs", "matplotlib.pyplot"])
PATIENCE = 300.0  # seconds that anything may take on a busy machine
Change = Callable[[], None]  # made in the process before the command, such as a slow disk
Environment = Mapping[str, str]


class Running:
    """A command that runs; left alone, it is killed when the block ends.

    Args:
        arguments: of `wemoe-pl`.
        log: where its output goes.
        change: called in the process before the command.
    """

    def __init__(self, arguments: list[str], log: Path, change: Change | None = None):
        self.log = log
        self.process = CONTEXT.Process(target=be_command, args=(arguments, log, change))
        self.process.start()

    def __enter__(self) -> "Running":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self.process.pid
        kill_group(self.process.pid)
        self.process.kill()
        self.process.join(PATIENCE)

    def send(self, number: signal.Signals, to_all: bool = False) -> None:
        """Send a signal, if it still runs, as a terminal does to all that it has started."""
        if self.process.is_alive() and self.process.pid:
            (os.killpg if to_all else os.kill)(self.process.pid, number)

    def wait(self) -> int:
        """The exit status."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, f"It hangs:\n{self.output}"
        return self.process.exitcode

    def wait_until(self, reached: Callable[[], bool]) -> bool:
        """Wait for something, or for the end of the process; was it reached?"""
        until = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < until, f"It hangs:\n{self.output}"
            if not self.process.is_alive():
                return reached()
            time.sleep(0.002)
        return True

    @property
    def others(self) -> list[str]:
        """Processes that it has started, and that are still there."""
        assert self.process.pid
        return [*members(self.process.pid).values()]

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def last_line(self) -> str:
        """The last that it has printed."""
        return self.output.strip().splitlines()[-1]


def be_command(
    arguments: list[str],
    log: Path,
    change: Change | None = None,
    environment: Environment | None = None,
) -> None:
    """Be `wemoe-pl ARGUMENTS`, the first of a group of processes.

    Args:
        arguments: of the command.
        log: where its output goes.
        change: called before the command.
        environment: by default the server's.
    """
    os.setpgid(0, 0)
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    multiprocessing.set_start_method("fork", force=True)  # of processes that load images
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["wemoe-pl"]

    import torch
    from helpers.quick_files import save_blank
    from lightning.fabric.utilities.rank_zero import _get_rank, rank_zero_only
    from matplotlib.figure import Figure

    from wemoe_pl.cli import main

    torch.set_num_threads(1)
    Figure.savefig = save_blank  # type: ignore[method-assign,assignment]
    # Lightning reads it when it is imported, which was before this process was one of several.
    rank_zero_only.rank = _get_rank() or 0  # type: ignore[attr-defined]
    if change:
        change()
    sys.exit(main.main(arguments))

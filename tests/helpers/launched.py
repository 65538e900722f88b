"""Processes of one command, as torchrun or srun would start them."""

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from helpers.processes import CONTEXT, PATIENCE, Change, Environment, be_command

from wemoe_pl.cli import main

# In the results of two runs that are the same.
DIFFERS = {"command", "seconds", "revision", "finished", "checkpoint"}
Args = Sequence[str | Path]


def torchrun(processes: int) -> list[Environment]:
    """What torchrun tells each process, on one machine."""
    common = {
        "TORCHELASTIC_RUN_ID": "none",
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    return [common | {"RANK": str(r), "LOCAL_RANK": str(r)} for r in range(processes)]


def srun(processes: int, job: str) -> list[Environment]:
    """What srun tells each task, on one machine."""
    count = str(processes)
    common = {
        **dict.fromkeys(("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_STEP_NUM_TASKS"), count),
        "SLURM_NNODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_JOB_ID": job,
        "SLURM_JOB_NAME": "wemoe",
        "MASTER_PORT": str(free_port()),
    }
    return [common | {"SLURM_PROCID": str(r), "SLURM_LOCALID": str(r)} for r in range(processes)]


@contextmanager
def started(
    environments: Sequence[Environment],
    args: Sequence[str | Path],
    folder: Path,
    change: Change | None = None,
) -> Iterator[list[BaseProcess]]:
    """`wemoe-pl ARGS` in a process per environment, which all have ended afterwards."""
    given = [str(arg) for arg in args]
    folder.mkdir(parents=True, exist_ok=True)
    processes: list[BaseProcess] = [
        CONTEXT.Process(
            target=be_command,
            args=(given, folder / f"{rank}.log", change, {**os.environ, **own}),
        )
        for rank, own in enumerate(environments)
    ]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def run(
    environments: Sequence[Environment],
    args: Sequence[str | Path],
    folder: Path,
    change: Change | None = None,
) -> list[str]:
    """Run `wemoe-pl ARGS` in a process per environment; what each has said."""
    statuses, said = outcome(environments, args, folder, change)
    assert statuses == [0] * len(environments), "\n".join(said)
    return said


def outcome(
    environments: Sequence[Environment],
    args: Sequence[str | Path],
    folder: Path,
    change: Change | None = None,
) -> tuple[list[int | None], list[str]]:
    """The exit status of every process, and what each has said; None for one that hangs."""
    with started(environments, args, folder, change) as processes:
        end = time.monotonic() + PATIENCE
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
        statuses = [process.exitcode for process in processes]
    return statuses, [(folder / f"{rank}.log").read_text() for rank in range(len(environments))]


def alone(command: str, args: Args, out: Path) -> Path:
    """Run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["wemoe-pl"])
        assert main.main([command, *map(str, args), "--out", str(out)]) == 0
    torch.use_deterministic_algorithms(False)  # `deterministic: true` outlives its trainer
    return out


def together(processes: int, command: str, args: Args, out: Path) -> Path:
    """Run in several processes."""
    devices = ("--trainer.devices", str(processes))
    run(torchrun(processes), [command, *args, *devices, "--out", out], out.with_suffix(".said"))
    return out


def wait_until(happened: Callable[[], object], goes_on: Callable[[], bool]) -> None:
    """Wait for something that a program will do while it goes on."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        assert goes_on(), "the program has ended"
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port

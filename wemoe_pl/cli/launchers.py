"""Recognise the launcher of this process: torchrun, srun, or none."""

import os
import re
from dataclasses import dataclass

from wemoe_pl.errors import ConfigError

INTERACTIVE = ("bash", "interactive")  # SLURM jobs of these names let Lightning start processes


@dataclass(frozen=True)
class Launcher:
    """A launcher is a program that starts one command as several processes.

    Args:
        name: the name of the program.
        processes: the number of processes that it has started, on all machines together.
        per_node: the number of processes on each machine.
    """

    name: str
    processes: int
    per_node: int

    def check(self, devices: int, nodes: int) -> None:
        """Raise `ConfigError` unless every device of every node has its process.

        >>> Launcher("torchrun", processes=4, per_node=2).check(devices=2, nodes=2)
        """
        if self.processes == devices * nodes:
            return
        if self.name == "srun" and self.processes == 1:
            raise ConfigError(
                f"trainer.devices {devices} on trainer.num_nodes {nodes} are {devices * nodes} "
                "processes, which SLURM starts: begin the command with srun."
            )
        raise ConfigError(
            f"{self.name} has started {self.processes} processes, but trainer.devices {devices} on "
            f"trainer.num_nodes {nodes} are {devices * nodes}: set trainer.devices to "
            f"{self.per_node} and trainer.num_nodes to {self.processes // self.per_node}."
        )


def launcher() -> Launcher | None:
    """Return the launcher that has started this process; None if it was started alone.

    Raises:
        ConfigError: SLURM was not told how many processes each machine has.
    """
    known = os.environ
    if "TORCHELASTIC_RUN_ID" in known:
        return Launcher("torchrun", int(known["WORLD_SIZE"]), int(known["LOCAL_WORLD_SIZE"]))
    if "SLURM_NTASKS" not in known or known.get("SLURM_JOB_NAME") in INTERACTIVE:
        return None
    tasks = int(known["SLURM_NTASKS"])
    if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in known:
        raise ConfigError(
            f"SLURM was asked for --ntasks={tasks}: ask for --nodes and --ntasks-per-node instead, "
            "which say how many processes each machine has."
        )
    started = int(known.get("SLURM_STEP_NUM_TASKS", 1))  # only srun sets it
    return Launcher("srun", started, int(known.get("SLURM_NTASKS_PER_NODE", 1)))


def refuse_several(command: str) -> None:
    """Raise `ConfigError` if a command for one process was started as several processes."""
    started = launcher()
    if started is not None and started.processes > 1:
        raise ConfigError(
            f"`wemoe-pl {command}` is for one process, but {started.name} has started "
            f"{started.processes}: leave {started.name} out."
        )


def local_place() -> tuple[int, int]:
    """Return the number of this process on its machine, and how many there are.

    torchrun and srun say so; a process that was started by hand is the first of one.
    """
    known = os.environ
    if "TORCHELASTIC_RUN_ID" in known:
        return int(known["LOCAL_RANK"]), int(known["LOCAL_WORLD_SIZE"])
    if "SLURM_LOCALID" not in known or known.get("SLURM_JOB_NAME") in INTERACTIVE:
        return 0, 1
    number = int(known["SLURM_LOCALID"])
    # On nodes that have different numbers of tasks, `4(x2),3`; the number itself is enough here.
    on_nodes = re.findall(r"\d+", known.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    return number, max(number + 1, int(on_nodes[0]) if on_nodes else 1)

"""Time and memory: everything side by side in one process, one after another, again and again."""

import gc
import time
from collections.abc import Callable, Mapping
from ctypes import CDLL
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

Name = TypeVar("Name")
Result = TypeVar("Result")
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def interleaved(
    runs: Mapping[Name, Callable[[], object]], repeats: int, device: str
) -> dict[Name, float]:
    """Median seconds of each run. What disturbs the machine for a while disturbs all of them.

    Args:
        runs: what to time, by name. Each turn begins with a run that is not counted, so that none
            pays for what another left in caches and heap.
        repeats: how many turns each has.
        device: waited for before the clock is read.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            run()
            wait_for(device)
            begin = time.perf_counter()
            run()
            wait_for(device)
            seconds[name].append(time.perf_counter() - begin)
    return {name: median(values) for name, values in seconds.items()}


def peak_memory(run: Callable[[], Result], device: str) -> tuple[Result, int | None]:
    """Return the result of a run, and the bytes that it held at most beyond those before it.

    On a CPU these are resident bytes of this process, which only Linux tells; None elsewhere.
    """
    gc.collect()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = run()
        return result, torch.cuda.max_memory_allocated(device) - before
    if not RESET.exists():
        return run(), None
    CDLL(None).malloc_trim(0)  # what was freed but is still resident would hide what is used anew
    RESET.write_text("5")  # the peak begins anew with what is held now
    before = status("VmRSS")
    result = run()
    return result, status("VmHWM") - before


def status(name: str) -> int:
    """A line of this process's memory, in bytes."""
    return int(STATUS.read_text().partition(f"{name}:")[2].split()[0]) * 1024


def wait_for(device: str) -> None:
    """An accelerator works on after it was told what to do."""
    if device != "cpu":
        torch.cuda.synchronize(device)

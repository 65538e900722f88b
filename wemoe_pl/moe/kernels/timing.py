"""Measure time and memory: all runs take turns in one process, several times."""

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
    """Return the median seconds of each run; they take turns, so that disturbances affect all.

    Args:
        runs: the functions to time, by name. Each turn begins with a run that is not counted, so
            that none pays for what another left in caches and heap.
        repeats: the number of turns of each run.
        device: the device that is waited for before the clock is read.
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
    """Return the result of a run, and its peak memory in bytes beyond that before the run.

    On a CPU this is the resident memory of the process, which only Linux reports; None elsewhere.
    """
    gc.collect()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = run()
        return result, torch.cuda.max_memory_allocated(device) - before
    if not RESET.exists():
        return run(), None
    CDLL(None).malloc_trim(0)  # freed memory that is still resident would hide new allocations
    RESET.write_text("5")  # resets the peak to what is held now
    before = status("VmRSS")
    result = run()
    return result, status("VmHWM") - before


def status(name: str) -> int:
    """Return a value of this process's memory status, in bytes."""
    return int(STATUS.read_text().partition(f"{name}:")[2].split()[0]) * 1024


def wait_for(device: str) -> None:
    """Wait until an accelerator has done what it was given; it works asynchronously."""
    if device != "cpu":
        torch.cuda.synchronize(device)

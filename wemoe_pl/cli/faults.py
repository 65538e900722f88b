"""Explain faults in the middle of a run in one sentence each."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import TypeVar

import torch
from torch.distributed import DistBackendError, DistNetworkError, DistStoreError

from wemoe_pl.errors import WeMoEError, sentence_of
from wemoe_pl.system.signals import REQUEST, Stopped
from wemoe_pl.system.terminal import STDOUT, takes_more

Raised = TypeVar("Raised", bound=BaseException)

OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
TOO_MANY_FILES = re.compile(r"too many open files|received 0 items of ancdata", re.IGNORECASE)
NO_THREAD = re.compile(r"can't start new thread|thread constructor failed", re.IGNORECASE)
LOST_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))?[\d, ]+\) (.*)", re.DOTALL)
SHARED_MEMORY = re.compile(r"bus error|shared memory|shm", re.IGNORECASE)
FEWER_BYTES = (
    "Lower data.batch_size or data.test_batch_size; split a step, by a smaller "
    "data.tasks_per_batch with trainer.accumulate_grad_batches to match; set trainer.precision to "
    "bf16-mixed; or set a model.merge.compression. Then go on with `--ckpt_path last`."
)


@contextmanager
def faults_explained(
    cause: Callable[[Exception], Exception] = lambda error: error,
) -> Iterator[None]:
    """Raise known errors of a block as errors of one sentence, and all others as they are.

    Args:
        cause: a function that finds the real error where a library raises another one for it.

    Raises:
        WeMoEError: something is wrong that a user can put right.
        Stopped: a signal has asked the command to end.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, BrokenPipeError) and not takes_more(STDOUT):
            raise  # nobody reads the output any more: `main` ends without a message
        if REQUEST.signum is not None:  # the processes that load images got the signal too
            raise with_notes(Stopped(REQUEST.signum), error) from error
        first = cause(error)
        if isinstance(first, WeMoEError):
            raise first from None
        if (explained := explanation(first)) is None:
            raise
        raise with_notes(explained, first) from error


def explanation(error: Exception) -> WeMoEError | None:
    """Return an error of one sentence that explains what a library or the system has raised.

    The result is None if the error is not a known one.

    >>> print(explanation(MemoryError()))  # doctest: +ELLIPSIS
    There is not enough memory. Lower data.batch_size or ...
    """
    if is_out_of_memory(error):
        device = " on the GPU" if isinstance(error, torch.OutOfMemoryError) else ""
        return WeMoEError(f"There is not enough memory{device}. {FEWER_BYTES}")
    if TOO_MANY_FILES.search(str(error)):
        return WeMoEError(
            "Too many files are open: allow more, by `ulimit -n 4096`, or set data.num_workers to "
            "a smaller number."
        )
    if NO_THREAD.search(str(error)):
        return WeMoEError(
            "No further thread can be started: allow more address space (`ulimit -v`) or processes "
            "(`ulimit -u`), or set OMP_NUM_THREADS and data.num_workers to smaller numbers."
        )
    if found := LOST_WORKER.match(str(error)):
        return WeMoEError(lost_worker(found[1]))
    if isinstance(error, ConnectionResetError) and is_of_loading(error):
        return WeMoEError(lost_worker("has ended"))
    if isinstance(error, OSError):
        return WeMoEError(sentence_of(error))
    if isinstance(error, DistNetworkError | DistStoreError):
        first = str(error).partition("\n")[0]
        return WeMoEError(f"The processes of this run cannot reach one another: {first}")
    # Gloo, which connects processes on CPUs, has no error class of its own.
    is_of_gloo = isinstance(error, RuntimeError) and "/gloo/" in str(error)
    if is_of_gloo or isinstance(error, DistBackendError):
        return WeMoEError("Another process of this run has ended: look at its output.")
    return None


def with_notes(error: Raised, of: BaseException) -> Raised:
    """Return an error with the notes of the one that it replaces, which tell of the progress."""
    for note in getattr(of, "__notes__", []):
        error.add_note(note)
    return error


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory, of a GPU or not, could not be allocated."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(OUT_OF_MEMORY.search(str(error)))


def is_of_loading(error: ConnectionResetError) -> bool:
    """Return whether an error says that a process was killed while it handed over a batch."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    return any(module.startswith("torch.utils.data.") for module in modules)


def lost_worker(how: str) -> str:
    """Return a sentence on a process that loaded images and has died, with advice."""
    reason = how.partition("\n")[0].rstrip(" .")
    if SHARED_MEMORY.search(how):
        advice = "shared memory is too small: enlarge /dev/shm (docker run --shm-size), or set "
    else:
        advice = "perhaps because memory ran out: set "
    return (
        f"A process that loads images {reason}, {advice}data.num_workers to a smaller number, or "
        "to 0."
    )

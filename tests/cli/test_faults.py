"""What goes wrong from outside is told in one sentence that says what to do."""

import errno
import os
from multiprocessing.queues import Queue

import pytest
import torch
from torch.distributed import DistNetworkError
from torch.utils.data import DataLoader, TensorDataset

from wemoe_pl.cli.faults import explanation, with_notes
from wemoe_pl.errors import WeMoEError

ON_A_CPU = (
    "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 1000000000000000 bytes. Error code 12 (Cannot allocate memory)"
)
FROM_A_WORKER = """Caught FileNotFoundError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "data.py", line 1, in fetch
FileNotFoundError: [Errno 2] No such file or directory: 'images/1.png'
"""


@pytest.mark.parametrize(
    ("error", "fragments"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), ["on the GPU"]),
        (MemoryError(), ["not enough memory. Lower"]),
        (RuntimeError(ON_A_CPU), ["not enough memory. Lower"]),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            ["process that loads images is killed by signal: Killed", "num_workers", "to 0"],
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"),
            ["images exited unexpectedly", "num_workers"],
        ),
        (
            RuntimeError(
                "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
                "dataloader's workers are out of shared memory. Please try to raise your shared "
                "memory limit."
            ),
            ["Bus error", "/dev/shm", "--shm-size", "num_workers"],
        ),
        (
            OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
            ["Too many files", "ulimit -n", "workers"],
        ),
        (RuntimeError("received 0 items of ancdata"), ["Too many files are open", "ulimit -n"]),
        (RuntimeError("can't start new thread"), ["No further thread", "ulimit -v", "ulimit -u"]),
        (ConnectionResetError(104, "Connection reset by peer"), ["Connection reset by peer"]),
        (FileNotFoundError(2, "No such file or directory", "a.png"), ["a.png: No such file"]),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), ["No space left on device"]),
        (FileNotFoundError(FROM_A_WORKER), ["No such file or directory: 'images/1.png'"]),
        (OSError(), ["OSError"]),
    ],
)
def test_a_fault_is_told_in_one_sentence(error: Exception, fragments: list[str]) -> None:
    told = explanation(error)
    assert isinstance(told, WeMoEError)
    assert "\n" not in str(told)
    for fragment in fragments:
        assert fragment in str(told)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError(ON_A_CPU)]
)
def test_of_too_little_memory_it_is_said_what_would_fit(error: Exception) -> None:
    told = str(explanation(error))
    for key in ("batch_size", "tasks_per_batch", "accumulate_grad_batches", "precision"):
        assert key in told
    assert told.endswith("Then go on with `--ckpt_path last`.")


def test_a_loading_process_that_is_lost_while_it_hands_over_a_batch_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reset(*_: object, **__: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    batches = iter(DataLoader(TensorDataset(torch.zeros(1)), num_workers=1))
    monkeypatch.setattr(Queue, "get", reset)
    with pytest.raises(ConnectionResetError) as raised:
        next(batches)
    told = str(explanation(raised.value))
    assert told.startswith(
        "A process that loads images has ended, perhaps because memory ran out: set "
    )


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection"),
            "Another process of this run has ended: look at its output.",
        ),
        (
            DistNetworkError("The server socket has failed to listen.\nC++ traceback"),
            "The processes of this run cannot reach one another: The server socket has failed to "
            "listen.",
        ),
        (RuntimeError("The size of tensor a (3) must match"), None),
    ],
)
def test_what_goes_wrong_between_processes_is_said_in_a_sentence(
    error: RuntimeError, sentence: str | None
) -> None:
    told = explanation(error)
    assert (told and str(told)) == sentence


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("x"), ValueError()])
def test_of_mistakes_in_the_program_nothing_is_known(error: Exception) -> None:
    assert explanation(error) is None


def test_what_is_noted_of_the_progress_goes_on() -> None:
    error = RuntimeError()
    error.add_note("Step 3 is kept.")
    assert with_notes(WeMoEError("It broke."), error).__notes__ == ["Step 3 is kept."]
    assert not hasattr(with_notes(WeMoEError("It broke."), RuntimeError()), "__notes__")

"""A job may open the files that its processes need, or says that it may not."""

import resource
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from wemoe_pl.data.open_files import IN_FLIGHT, OWN, PER_WORKER, allow_open_files
from wemoe_pl.errors import ConfigError


def answer(soft: int, hard: int, workers: int, answers: "SimpleQueue[object]") -> None:
    """In a process of its own: what becomes of limits, or what is said."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        allow_open_files(workers)
    except ConfigError as error:
        answers.put(str(error))
        return
    strategy = torch.multiprocessing.get_sharing_strategy()
    loaded = DataLoader(TensorDataset(torch.arange(64.0)), num_workers=min(workers, 2))
    total = sum(batch.sum().item() for (batch,) in loaded)
    answers.put((resource.getrlimit(resource.RLIMIT_NOFILE)[0], strategy, total))


@pytest.fixture
def limited() -> Callable[[int, int, int], object]:
    """`limited(soft, hard, workers)`: what comes of them."""

    def ask(soft: int, hard: int, workers: int) -> object:
        context = get_context("fork")
        answers = context.SimpleQueue()
        process = context.Process(target=answer, args=(soft, hard, workers, answers))
        process.start()
        found: object = answers.get()
        process.join()
        return found

    return ask


LEAST, ENOUGH = OWN + 2 * PER_WORKER, OWN + 2 * (PER_WORKER + IN_FLIGHT)


@pytest.mark.parametrize(
    ("soft", "hard", "workers", "expected"),
    [
        (ENOUGH, ENOUGH, 2, (ENOUGH, "file_descriptor")),
        (LEAST, 2 * ENOUGH, 2, (ENOUGH, "file_descriptor")),
        (LEAST, LEAST, 2, (LEAST, "file_system")),
        (LEAST - 9, LEAST + 1, 2, (LEAST + 1, "file_system")),
        (48, 48, 0, (48, "file_descriptor")),
    ],
)
def test_as_many_files_may_be_opened_as_are_needed(
    limited: Callable[[int, int, int], object], soft: int, hard: int, workers: int,
    expected: tuple[int, str],
) -> None:  # fmt: skip
    assert limited(soft, hard, workers) == (*expected, 2016.0)


def test_where_the_system_lets_open_too_few_it_is_said_how_many(
    limited: Callable[[int, int, int], object],
) -> None:
    assert limited(LEAST - 1, LEAST - 1, 2) == (
        f"Only {LEAST - 1} files may be open, and 2 processes that load images need {LEAST}: allow "
        f"more, by `ulimit -n {ENOUGH}`, or set data.num_workers to 0."
    )

"""Run `wemoe-pl predict RUN IMAGES --out FOLDER`: answer any number of images, and keep it."""

import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import torch

from wemoe_pl.cli.launchers import launcher, local_place
from wemoe_pl.data.open_files import allow_open_files
from wemoe_pl.data.tasks import name_some
from wemoe_pl.errors import ConfigError, DataError, at_least
from wemoe_pl.export.many_images.answers_record import AnswersRecord
from wemoe_pl.export.many_images.question import load_recorded
from wemoe_pl.export.many_images.stages import speed_in_words
from wemoe_pl.export.many_images.work import WorkOptions, answer_images
from wemoe_pl.model.classifier import IMAGES_AT_ONCE
from wemoe_pl.system.cores import at_most_cores, cores_of_process
from wemoe_pl.system.terminal import say

MOST_WORKERS = 16  # by default


def keep_answers(options: Namespace, command: str) -> None:
    """Answer images into a folder, and say how many there are.

    Args:
        options: the options of the command line.
        command: the command line.

    Raises:
        WeMoEError: something is wrong that a user can put right, or no image can be read.
        Stopped: a signal has asked the command to end.
    """
    refuse_fresh_of_several(options.fresh)
    number, processes = local_place()
    asked = WorkOptions(
        sources=options.images,
        task=options.task,
        batch_size=at_least(1, "--batch-size", given(options.batch_size, IMAGES_AT_ONCE)),
        workers=loading_workers(options.workers, processes),
        is_fresh=options.fresh,
        command=command,
    )
    device = chosen_device(options.device, number)
    allow_open_files(asked.workers)
    model = load_recorded(options.run, options.allow)
    model.classifier.to(device)
    tell_answers(answer_images(model, asked, Path(options.out)), options.out)


def given(value: int | None, default: int) -> int:
    """Return an option, or its default if it was not given."""
    return default if value is None else value


def loading_workers(asked: int | None, processes: int) -> int:
    """Return how many processes load images, and say so if it is not as many as were asked for.

    Args:
        asked: the number that was asked for; None for one per core, shared by the processes.
        processes: the number of processes that answer on this machine.
    """
    if asked is None:
        return min(max(1, cores_of_process() // processes), MOST_WORKERS)
    return at_most_cores(
        at_least(0, "--workers", asked), "--workers", partial(say, file=sys.stderr)
    )


def refuse_fresh_of_several(is_fresh: bool) -> None:
    """Raise `ConfigError` if each of several processes would remove what the others answer."""
    started = launcher() if is_fresh else None
    if started is not None and started.processes > 1:
        raise ConfigError(
            f"--fresh removes what other processes answer, and {started.name} has started "
            f"{started.processes}: remove the folder of --out instead, before {started.name} "
            "begins."
        )


def chosen_device(name: str | None, number: int) -> torch.device:
    """Return the device for a process.

    Args:
        name: the device that was asked for; None for a GPU if there is one.
        number: the number of the process on its machine, which takes the GPU of this number.

    Raises:
        ConfigError: there is no such device.
    """
    gpus = torch.cuda.device_count()
    if name is None:
        return torch.device("cuda", number % gpus) if gpus else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"--device is {name}: give cpu, cuda, or cuda:N for GPU N.") from None
    if device.type == "cuda" and not (device.index or 0) < gpus:
        raise ConfigError(f"--device is {name}, but there are {gpus} GPUs here: give another.")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", number % gpus)
    return device


def tell_answers(record: AnswersRecord, out: str) -> None:
    """Say what the folder of answers holds, and which stage took most of the time.

    Raises:
        DataError: no image could be read.
    """
    names, reason = record.unreadable_names, next(iter(record.reasons), "")
    if record.unreadable == record.images:
        raise DataError(
            f"None of the {record.images} images can be read: {name_some(names)}. The first "
            f"reason: it {reason}."
        )
    none = f", {record.of_none} of them by none of the tasks" if record.of_none else ""
    say(f"{speed_in_words(record.images, record.seconds)}.")
    unreadable = ""
    if record.unreadable:
        rest = record.unreadable - len(names)
        more = f" and {rest} more" if rest else ""
        unreadable = (
            f"; {record.unreadable} cannot be read, and have rows that say why: "
            f"{', '.join(names)}{more}"
        )
    say(
        f"{record.answered} of {record.images} images are answered in {out} "
        f"(parts: {len(record.parts)}){none}{unreadable}."
    )

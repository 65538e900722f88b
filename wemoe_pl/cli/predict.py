"""Run `wemoe-pl predict RUN IMAGES`: print a model's predictions or keep them, without a job.

This module imports no Lightning: that would take longer than loading and running a model.
"""

import io
import shlex
from argparse import Namespace
from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

from wemoe_pl.cli.faults import faults_explained
from wemoe_pl.cli.kept_answers import keep_answers
from wemoe_pl.cli.launchers import refuse_several
from wemoe_pl.cli.verb_parsers import predict_parser
from wemoe_pl.data.shards.tar import TAR
from wemoe_pl.data.tasks import find_images, name_some
from wemoe_pl.data.to_classify import NamedImages, collate_named
from wemoe_pl.errors import ConfigError, DataError
from wemoe_pl.export.loading import load
from wemoe_pl.model.classifier import IMAGES_AT_ONCE, MultiTaskClassifier
from wemoe_pl.model.named_answers import named_answers
from wemoe_pl.model.prediction import Prediction
from wemoe_pl.model.prediction_table import HEADER, row_of, writable, write_csv_rows
from wemoe_pl.model.task_inference import BEST_RULE
from wemoe_pl.system.signals import REQUEST
from wemoe_pl.system.terminal import guard_output, say


def run_predict(args: list[str]) -> None:
    """Run `wemoe-pl predict RUN IMAGES`.

    Args:
        args: the command line: "predict", a run or an export, images, and options.

    Raises:
        WeMoEError: something is wrong that a user can put right.
        Stopped: a signal has asked the command to end.
    """
    guard_output()
    options, others = predict_parser().parse_known_args(args[1:])
    if others:
        raise ConfigError(
            f"{others[0]} is not an option that goes with a run and images. A job has more "
            "options: `wemoe-pl predict --config RUN/config.yaml --data.images IMAGES`."
        )
    with faults_explained():
        if options.out is not None:
            keep_answers(options, shlex.join(["wemoe-pl", *args]))
            return
        refuse_several("predict")
        refuse_without_out(options)
        model = load(options.run, options.allow)
        print_answers(model, options.images, options.task)


def refuse_without_out(options: Namespace) -> None:
    """Raise `ConfigError` for an option or a source that needs a folder for the answers."""
    for source in options.images:
        if source.endswith(TAR):
            raise ConfigError(f"{source} is a tar shard: give --out FOLDER to answer its images.")
    for name in ("workers", "batch_size", "device", "fresh"):
        if getattr(options, name):
            raise ConfigError(
                f"--{name.replace('_', '-')} goes with --out FOLDER, which keeps the answers."
            )


@torch.inference_mode()
def print_answers(model: MultiTaskClassifier, sources: Sequence[str], task: str | None) -> None:
    """Print a row of CSV for each image, batch by batch.

    Args:
        model: the model that classifies the images.
        sources: folders, patterns or files.
        task: the task of all images; by default the task of each image is inferred.

    Raises:
        DataError: there is no image that can be read.
    """
    tasks = model.tasks if task is None else [task]
    model.head(tasks[0])  # raises for a task without a head before anything is printed
    rule = BEST_RULE if len(tasks) > 1 else None
    images = NamedImages(find_images(*sources), model.preprocess)
    place = next(model.parameters())
    unreadable: list[Prediction] = []
    say(",".join(HEADER))
    for batch in DataLoader(images, batch_size=IMAGES_AT_ONCE, collate_fn=collate_named):
        REQUEST.obey_if_due()
        moved = batch._replace(images=batch.images.to(place))
        answers = named_answers(model, moved, tasks, rule)
        unreadable += [answer for answer in answers if answer.error]
        say(csv_of(answers), end="")
    if len(unreadable) == len(images):
        names = name_some(str(answer.image) for answer in unreadable)
        raise DataError(f"None of the images can be read: {names}. {unreadable[0].error}.")


def csv_of(answers: Sequence[Prediction]) -> str:
    """Return answers as lines of CSV."""
    lines = io.StringIO()
    rows = ({name: writable(v) for name, v in row_of(answer).items()} for answer in answers)
    write_csv_rows(lines, rows, lineterminator="\n")
    return lines.getvalue()

"""Answer unit after unit, each by the process that has locked it, until no unit is left."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import Timeout

from wemoe_pl.data.shards.batches import UnitBatches, unit_loader
from wemoe_pl.data.shards.plan import WorkPlan
from wemoe_pl.data.shards.reading import PlannedImages
from wemoe_pl.errors import WeMoEError
from wemoe_pl.export.many_images.answers_folder import AnswersFolder
from wemoe_pl.export.many_images.answers_record import AnswersRecord, read_record, write_record
from wemoe_pl.export.many_images.parts import as_plain, facts_of, read_part_facts, write_part
from wemoe_pl.export.many_images.question import (
    AskedQuestion,
    RecordedModel,
    asked_question,
    question_hash,
)
from wemoe_pl.export.many_images.stages import DECODING, MODEL, WAITING, WRITING, Stages
from wemoe_pl.model.classifier import IMAGES_AT_ONCE, MultiTaskClassifier
from wemoe_pl.model.named_answers import named_answers
from wemoe_pl.model.prediction import Prediction
from wemoe_pl.model.task_inference import BEST_RULE
from wemoe_pl.runs.lock import POLL, let_go, try_to_take
from wemoe_pl.system.files import remove_leftovers_of
from wemoe_pl.system.signals import REQUEST
from wemoe_pl.system.terminal import say
from wemoe_pl.system.warn import warn

SAY_EVERY = 10.0  # seconds between two lines on the progress


@dataclass(frozen=True)
class WorkOptions:
    """`WorkOptions` are the images and the options of the work.

    Args:
        sources: the images: folders, patterns, files, parquet files or tars.
        task: the task of all images; None if it is inferred for each.
        batch_size: the number of images that are answered at once.
        workers: the number of processes that load images.
        is_fresh: True to remove what was answered before.
        command: the command that was given.
    """

    sources: Sequence[str]
    task: str | None = None
    batch_size: int = IMAGES_AT_ONCE
    workers: int = 1
    is_fresh: bool = False
    command: str = ""


def answer_images(model: RecordedModel, asked: WorkOptions, out: Path) -> AnswersRecord:
    """Answer images into a folder, together with all processes that are asked the same.

    Args:
        model: the model, on the device on which it computes.
        asked: the images and the options.
        out: the folder.

    Returns:
        The record of all answers, which this or another process has written.

    Raises:
        WeMoEError: the folder has other answers, a source cannot be read, or the disk fails.
        Stopped: a signal has asked the command to end.
    """
    classifier, folder = model.classifier, AnswersFolder(out)
    tasks = classifier.tasks if asked.task is None else [asked.task]
    classifier.head(tasks[0])  # raises for a task without a head before anything is written
    if len(tasks) > 1:
        classifier.check_rule(BEST_RULE)
    question = asked_question(classifier, asked.sources, asked.task, asked.batch_size)
    plan = folder.begin(question, asked.sources, asked.is_fresh)
    if plan is None:
        say(f"{out} has all answers already: --fresh answers anew.", file=sys.stderr)
        return read_record(folder.record)
    tell_changes(plan, folder)
    SharedWork(classifier, tasks, asked, folder, plan).do_all()
    return finish(folder, plan, question, model, asked)


def tell_changes(plan: WorkPlan, folder: AnswersFolder) -> None:
    """Warn of folders that have changed since their images were listed."""
    if changed := plan.changed_folders():
        warn(
            f"{len(changed)} folders, such as {changed[0]}, have changed since their images were "
            f"listed for {folder.path}: what was added is not answered, unless you begin anew with "
            "--fresh."
        )


class SharedWork:
    """The work is to answer all units of a plan that no other process answers.

    Args:
        model: the classifier.
        tasks: the tasks whose heads answer.
        asked: the options.
        folder: the folder of the answers.
        plan: the plan.
    """

    def __init__(
        self,
        model: MultiTaskClassifier,
        tasks: Sequence[str],
        asked: WorkOptions,
        folder: AnswersFolder,
        plan: WorkPlan,
    ):
        self.model = model
        self.tasks = tasks
        self.asked = asked
        self.folder = folder
        self.plan = plan
        self.question = question_hash(plan.facts.question)
        self._said = time.monotonic()

    def do_all(self) -> None:
        """Answer units until all parts are there; wait for those that other processes answer."""
        missing, told = list(range(len(self.plan.images))), False
        while missing := [unit for unit in missing if not self._is_done(unit)]:
            before = len(missing)
            missing = [unit for unit in missing if not self._try(unit)]
            if missing and len(missing) == before:
                if not told:
                    told = True
                    say(
                        f"Waiting for {len(missing)} parts that other processes write.",
                        file=sys.stderr,
                    )
                REQUEST.obey_if_due()
                time.sleep(POLL)

    def _is_done(self, unit: int) -> bool:
        return self.folder.part(unit).is_file() or self.folder.is_finished

    def _try(self, unit: int) -> bool:
        """Answer a unit; return False if another process does."""
        REQUEST.obey_if_due()
        with claimed(self.folder, unit) as is_ours:
            if is_ours and not self._is_done(unit):
                self._answer(unit)
                self._tell_progress()
            return is_ours

    @torch.inference_mode()
    def _answer(self, unit: int) -> None:
        """Answer a unit, and write its part."""
        rule = BEST_RULE if len(self.tasks) > 1 else None
        place, stages = next(self.model.parameters()), Stages()
        answers: list[Prediction] = []
        batches = UnitBatches(
            PlannedImages(self.plan.pieces(unit)), self.model.preprocess, self.asked.batch_size
        )
        loader = unit_loader(batches, self.asked.workers, pinned=place.is_cuda)
        with stages.timed(WAITING):
            iterator = iter(loader)
        while True:
            REQUEST.obey_if_due()
            with stages.timed(WAITING):
                timed = next(iterator, None)
            if timed is None:
                break
            stages.seconds[DECODING] += timed.seconds
            with stages.timed(MODEL):
                moved = timed.named._replace(images=timed.named.images.to(place))
                answers += named_answers(self.model, moved, self.tasks, rule)
        began, facts = time.perf_counter(), facts_of(self.question, answers)

        def describe() -> dict[str, object]:
            return as_plain(facts, stages.seconds | {WRITING: time.perf_counter() - began})

        write_part(self.folder.part(unit), answers, describe)

    def _tell_progress(self) -> None:
        """Say from time to time how many parts are there."""
        if time.monotonic() < self._said + SAY_EVERY:
            return
        self._said = time.monotonic()
        done = sum(n for unit, n in enumerate(self.plan.images) if self._is_done(unit))
        say(f"{done} of {sum(self.plan.images)} images are answered.", file=sys.stderr)


@contextmanager
def claimed(folder: AnswersFolder, unit: int) -> Iterator[bool]:
    """Hold the lock of a unit in a block, and tell it whether it does; a killed process does not.

    If two processes hold it nevertheless, on a file system whose locks do not work, both write the
    same part.
    """
    lock = folder.lock(unit)
    try:
        taken = try_to_take(lock)
    except Timeout:
        yield False
        return
    except OSError:
        if not folder.is_finished:  # if it is, the folder of locks is removed
            raise
        yield False
        return
    try:
        yield True
    finally:
        let_go(taken, lock)


def finish(
    folder: AnswersFolder,
    plan: WorkPlan,
    question: AskedQuestion,
    model: RecordedModel,
    asked: WorkOptions,
) -> AnswersRecord:
    """Write the record if no other process has, and remove the plan.

    Raises:
        WeMoEError: a part is damaged, or has not as many images as its unit.
    """
    if folder.is_finished:
        return read_record(folder.record)
    parts = {}
    for unit, images in enumerate(plan.images):
        part = folder.part(unit)
        parts[part] = read_part_facts(part, question_hash(question))
        if parts[part].images != images:
            raise WeMoEError(f"{part} is incomplete: remove it, and give the same command again.")
        remove_leftovers_of(part)
    described = {"source": model.source, "sources": model.sources}
    record = write_record(folder.record, plan.facts, parts, described, asked.command)
    folder.tidy()
    return record

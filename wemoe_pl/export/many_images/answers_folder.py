"""Define the folder of the answers to many images: its parts, its manifest, and its plan."""

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import Timeout

from wemoe_pl.data.shards.plan import WorkPlan, lay_down, read_plan
from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.export.many_images.answers_record import RECORD_FILE, read_record
from wemoe_pl.export.many_images.question import AskedQuestion, difference_between
from wemoe_pl.runs.lock import held, holder_of, let_go, try_to_take
from wemoe_pl.system.files import make_folder

# Readers of parquet pass over names that begin with a dot.
WORK = ".wemoe-pl"
PART_NAME = re.compile(r"part-\d{5,}\.parquet")
A_DAY = 86400.0  # seconds to wait while another process lists the images


class AnswersFolder:
    """The folder of answers has a part for each unit, and in the end a manifest.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self.work = path / WORK
        self.plan = self.work / "plan.json"
        self.record = path / RECORD_FILE

    def part(self, unit: int) -> Path:
        """Return the part of a unit."""
        return self.path / f"part-{unit:05}.parquet"

    def lock(self, unit: int) -> Path:
        """Return the file that is locked by the process that answers a unit."""
        return self.work / f"{unit:05}.lock"

    @property
    def is_finished(self) -> bool:
        """Return whether the manifest is there, which is written last."""
        return self.record.is_file()

    def begin(
        self, question: AskedQuestion, sources: Sequence[str], is_fresh: bool
    ) -> WorkPlan | None:
        """Return the plan of the work, which the first process lays down; None if all is done.

        Args:
            question: the plain values on which the answers depend.
            sources: the images.
            is_fresh: True to remove what was answered before.

        Raises:
            ConfigError: the folder has other things, or answers another question.
            DataError: there are no images, or a source cannot be read.
        """
        self.check_ours()
        if self.is_finished and not is_fresh:
            self.check_question(read_record(self.record).question, question)
            return None
        make_folder(self.work)
        try:
            with held(self.work / "plan.lock", self.path, A_DAY, A_DAY):
                if is_fresh:
                    self.clear()
                if self.is_finished:
                    self.check_question(read_record(self.record).question, question)
                    return None
                if self.plan.is_file():
                    plan = read_plan(self.plan)
                    self.check_question(plan.facts.question, question)
                    return plan
                if parts := self.parts():
                    raise ConfigError(
                        f"{self.path} has answers, such as {parts[0].name}, but the plan by which "
                        "they were made is lost: begin anew with --fresh."
                    )
                return lay_down(self.plan, sources, question)
        finally:
            self.tidy()

    def check_ours(self) -> None:
        """Raise `ConfigError` if the folder holds other things than answers."""
        if not self.path.is_dir() or self.work.is_dir() or self.is_finished or self.parts():
            return  # a file in its place is refused when the folder is made
        if any(self.path.iterdir()):
            raise ConfigError(
                f"{self.path} exists already, and is not a folder of answers: choose another --out."
            )

    def check_question(self, then: dict[str, Any], now: AskedQuestion) -> None:
        """Raise `ConfigError` if the folder answers another question."""
        if difference := difference_between(then, now):
            raise ConfigError(
                f"{self.path} has answers by {difference}: choose another --out, or begin anew "
                "with --fresh."
            )

    def parts(self) -> list[Path]:
        """Return the parts that are there."""
        return sorted(p for p in self.path.glob("part-*.parquet") if PART_NAME.fullmatch(p.name))

    def clear(self) -> None:
        """Remove all answers and the plan.

        Raises:
            WeMoEError: another process answers a unit just now.
        """
        for lock in self.work.glob("[0-9]*.lock"):
            try:
                let_go(try_to_take(lock), lock)
            except Timeout:
                by = holder_of(lock) or "another process"
                raise WeMoEError(
                    f"{self.path} is in use: {by} writes there. Wait until it has ended, or end "
                    "it, before you begin anew with --fresh."
                ) from None
        for path in (self.record, *self.parts(), self.plan, self.plan.with_suffix(".parquet")):
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the plan, locks and what killed processes left, if all is done or none begun."""
        if self.is_finished or not (self.plan.is_file() or self.parts()):
            shutil.rmtree(self.work, ignore_errors=True)
        with suppress(OSError):  # it has answers, or other files
            self.path.rmdir()

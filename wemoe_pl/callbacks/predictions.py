"""Keep the answers of `predict` batch by batch, so that a killed job can go on, then as a table."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning import Callback
from lightning.pytorch.utilities import rank_zero_only

from wemoe_pl.data.tasks import name_some
from wemoe_pl.data.to_classify import NamedBatch
from wemoe_pl.errors import ConfigError, DataError, WeMoEError
from wemoe_pl.model.answering import Prediction
from wemoe_pl.model.prediction_table import COLUMNS, WRITERS, TableRow, row_of, writable
from wemoe_pl.system.files import atomic_write


class Predictions(Callback):
    """The callback keeps the answers, one file per batch, and puts all in one table at the end.

    A job that was killed, and is started again with the same command, skips the batches that are
    answered already. The folder of the batch files is named after everything that determines the
    answers, so answers of another model or for other images do not get among them.

    Args:
        folder: the folder of the run.
        file: the name of the table in it: `.csv` or `.parquet`.

    Attributes:
        of_none: the number of images in the table that are like those of none of the tasks.
    """

    def __init__(self, folder: str, file: str = "predictions.csv"):
        self.path = Path(folder) / file
        if Path(file).name != file or self.path.suffix not in WRITERS:
            raise ConfigError(
                f"predictions.file is {file}: give a name that ends in {' or '.join(WRITERS)}, "
                "without a folder."
            )
        self.of_none = 0

    def begin(self, asked: Any, anew: bool = False) -> set[int]:
        """Find the batches that an earlier job has answered already.

        Args:
            asked: the plain values that determine the answers.
            anew: True to delete existing answers.

        Returns:
            The first image of every batch that is answered already.
        """
        question = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        self.parts = self.path.with_name(f"{self.path.name}.{question[:16]}")
        if anew:
            rank_zero_only(shutil.rmtree)(self.parts, ignore_errors=True)
            return set()
        return {int(part.stem) for part in self.parts.glob("[0-9]*.json")}

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Sequence[Prediction],
        batch: NamedBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the answers of a batch to its file."""
        with atomic_write(self.parts / f"{batch.first}.json") as temporary:
            rows = json.dumps([row_of(answer) for answer in outputs])
            temporary.write_text(rows, encoding="utf-8")

    def finish(self, firsts: Iterable[int]) -> tuple[int, list[str]]:
        """Put all answers in the table, in the order of the images, and remove the batch files.

        Args:
            firsts: the first image of every batch, in order.

        Returns:
            The number of answers, and the names of the images that cannot be read.

        Raises:
            WeMoEError: some batches are not answered yet.
            DataError: no image can be read.
        """
        parts = [self.parts / f"{first}.json" for first in firsts]
        missing = sum(not part.is_file() for part in parts)
        if missing:
            raise WeMoEError(
                f"{missing} of {len(parts)} batches have no predictions yet: run the same command "
                "again to go on."
            )
        answers, unreadable, reasons = 0, [], []
        for row in kept(parts):
            if row["error"] is None:
                answers += 1
                self.of_none += row["task"] is None
            else:
                unreadable.append(row["image"])
                reasons.append(row["error"])
        if answers:
            with atomic_write(self.path) as temporary:
                WRITERS[self.path.suffix](temporary, kept(parts))
        shutil.rmtree(self.parts)
        if not answers:
            raise DataError(
                f"None of the images can be read: {name_some(unreadable)}. {reasons[0]}."
            )
        return answers, unreadable


def kept(parts: Iterable[Path]) -> Iterator[TableRow]:
    """Yield the answers in batch files; raise `WeMoEError` if one is damaged."""
    for part in parts:
        try:
            rows = json.loads(part.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WeMoEError(
                f"{part} is damaged: remove it and run the same command again to go on."
            ) from error
        for row in rows:
            if isinstance(row, list):  # an earlier version wrote it
                row = dict(zip(COLUMNS, row, strict=True))
            yield {name: writable(value) for name, value in row.items()}

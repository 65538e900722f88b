"""Write the answers of a unit as a part of the table, with what its manifest needs of them."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import with_config

from wemoe_pl.data.tasks.file_names import SHOWN_AT_MOST
from wemoe_pl.errors import WeMoEError
from wemoe_pl.model.prediction import Prediction
from wemoe_pl.model.prediction_table import row_of, writable, write_parquet
from wemoe_pl.system.files import atomic_write
from wemoe_pl.system.schema import STRICT, Schema, parse_json

KEY = "wemoe_pl"  # under which a part has its facts
MOST_REASONS = 20
OTHER_REASONS = "other reasons"


@with_config(STRICT)
@dataclass(frozen=True)
class PartFacts:
    """The facts of a part are the numbers of its images, and how long answering them has taken.

    Args:
        question: the SHA-256 of the question that was answered.
        images: the number of images.
        answered: the number of images that could be read.
        of_none: the number of these that are like those of none of the tasks.
        unreadable: the number of images that cannot be read.
        names: the names of the first of these.
        reasons: the number of images that cannot be read, by reason.
        seconds: the seconds of each stage.
    """

    question: str
    images: int
    answered: int
    of_none: int
    unreadable: int
    names: list[str]
    reasons: dict[str, int]
    seconds: dict[str, float] = field(default_factory=dict)


PART_SCHEMA = Schema(PartFacts)


def facts_of(question: str, answers: Sequence[Prediction]) -> PartFacts:
    """Return the facts of the answers to a question."""
    bad = [answer for answer in answers if answer.error is not None]
    return PartFacts(
        question=question,
        images=len(answers),
        answered=len(answers) - len(bad),
        of_none=sum(answer.task is None and answer.error is None for answer in answers),
        unreadable=len(bad),
        names=[writable(answer.image) for answer in bad[:SHOWN_AT_MOST]],
        reasons=most_common(Counter(map(reason_of, bad))),
    )


def reason_of(answer: Prediction) -> str:
    """Return why an image cannot be read, without its name.

    >>> reason_of(Prediction.unreadable("a.png", "a.png is not a readable image: it is empty"))
    'is not a readable image: it is empty'
    """
    error, name = str(answer.error), str(answer.image)
    while name and not error.startswith(name):  # a row's name goes on with that of its file
        name = name.rpartition(", ")[0]
    return str(writable(error.removeprefix(name).strip()))


def most_common(reasons: Counter[str]) -> dict[str, int]:
    """Return the numbers of the most common reasons, and of all others together."""
    kept = dict(reasons.most_common(MOST_REASONS))
    rest = reasons.total() - sum(kept.values())
    if rest:
        kept[OTHER_REASONS] = kept.get(OTHER_REASONS, 0) + rest
    return kept


def write_part(
    path: Path, answers: Sequence[Prediction], describe: Callable[[], Mapping[str, Any]]
) -> None:
    """Write a part, as a whole or not at all.

    Args:
        path: the file.
        answers: the answers.
        describe: the function that returns the facts of the part as plain values; it is called
            when all answers are written.
    """
    rows = ({name: writable(v) for name, v in row_of(answer).items()} for answer in answers)
    with atomic_write(path) as temporary:
        write_parquet(temporary, rows, lambda: {KEY: json.dumps(describe())})


def read_part_facts(path: Path, question: str) -> PartFacts:
    """Read the facts of a part.

    Raises:
        WeMoEError: the part is damaged, or answers another question.
    """
    try:
        stored = pq.read_metadata(path)
        found = parse_json((stored.metadata or {})[KEY.encode()].decode())
        if wrong := PART_SCHEMA.faults(found).wrong:
            raise ValueError(wrong)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise WeMoEError(
            f"{path} is damaged: remove it, and give the same command again."
        ) from error
    facts = PART_SCHEMA.make(found)
    if facts.question != question or facts.images != stored.num_rows:
        raise WeMoEError(
            f"{path} is no part of these answers: remove it, and give the same command again."
        )
    return facts


def as_plain(facts: PartFacts, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Return the facts of a part with its seconds, as plain values."""
    return asdict(facts) | {"seconds": dict(seconds)}

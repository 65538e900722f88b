"""Write and read the manifest of answers: the model, the options, the counts, and all parts."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import with_config

from wemoe_pl.data.shards.plan import PlanFacts
from wemoe_pl.data.tasks.file_names import SHOWN_AT_MOST
from wemoe_pl.errors import WeMoEError
from wemoe_pl.export.many_images.parts import PartFacts, most_common
from wemoe_pl.export.many_images.stages import rate, shares, sum_of
from wemoe_pl.runs.lock import now, time_in_words
from wemoe_pl.system.files import atomic_write, sha256
from wemoe_pl.system.provenance import revision, versions
from wemoe_pl.system.schema import STRICT, Schema, parse_json

RECORD_FILE = "_manifest.json"  # readers of parquet pass over names with an underscore before them
RECORD_VERSION = 1


@with_config(STRICT)
@dataclass(frozen=True)
class PartRecord:
    """A part record identifies a part of the answers.

    Args:
        file: the name of the file.
        rows: the number of its rows, which are images.
        sha256: the SHA-256 of the file.
        seconds: the seconds of each stage.
    """

    file: str
    rows: int
    sha256: str
    seconds: dict[str, float]


@with_config(STRICT)
@dataclass(frozen=True)
class AnswersRecord:
    """A record of answers says of what they are, how many, and how they were made.

    Args:
        model: the source of the model, and of each of its frozen parts with its SHA-256.
        question: all on which the answers depend; see `asked_question`.
        command: the command of the process that has written the record.
        versions: the versions of this program and of the packages that it is built on.
        revision: the revision of this program's source, if it is known.
        images: the number of images.
        answered: the number of images that could be read.
        of_none: the number of these that are like those of none of the tasks.
        unreadable: the number of images that cannot be read.
        unreadable_names: the names of the first of these.
        reasons: the number of images that cannot be read, by reason.
        parts: the parts.
        seconds: the seconds of each stage, of all processes together; `listing` comes before all
            others, and `reading_and_decoding` is that of the processes that load images.
        images_per_second: the images that one process has answered in a second.
        shares: the share of each stage in the time of the processes that answered.
        listed: the time at which listing the images was begun.
        finished: the time at which the record was written.
        version: the version of this form of records.
    """

    model: dict[str, Any]
    question: dict[str, Any]
    command: str
    versions: dict[str, str]
    revision: str | None
    images: int
    answered: int
    of_none: int
    unreadable: int
    unreadable_names: list[str]
    reasons: dict[str, int]
    parts: list[PartRecord]
    seconds: dict[str, float]
    images_per_second: float
    shares: dict[str, float]
    listed: str
    finished: str
    version: int = RECORD_VERSION


RECORD_SCHEMA = Schema(AnswersRecord)


def write_record(
    path: Path,
    plan: PlanFacts,
    parts: Mapping[Path, PartFacts],
    model: Mapping[str, Any],
    command: str,
) -> AnswersRecord:
    """Write the record of answers that are complete.

    Args:
        path: the file.
        plan: the facts of the plan.
        parts: the parts with their facts, in order.
        model: the source of the model, and its sources.
        command: the command that was given.
    """
    facts = list(parts.values())
    images, seconds = sum(plan.images), sum_of(each.seconds for each in facts)
    record = AnswersRecord(
        model=dict(model),
        question=plan.question,
        command=command,
        versions=versions(),
        revision=revision(),
        images=images,
        answered=sum(each.answered for each in facts),
        of_none=sum(each.of_none for each in facts),
        unreadable=sum(each.unreadable for each in facts),
        unreadable_names=first_names(facts),
        reasons=all_reasons(facts),
        parts=[
            PartRecord(part.name, each.images, sha256(part), each.seconds)
            for part, each in parts.items()
        ],
        seconds={"listing": plan.seconds, **seconds},
        images_per_second=rate(images, seconds),
        shares=shares(seconds),
        listed=time_in_words(plan.began),
        finished=now(),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=2) + "\n")
    return record


def first_names(facts: Sequence[PartFacts]) -> list[str]:
    """Return the names of the first images that cannot be read."""
    return [name for each in facts for name in each.names][:SHOWN_AT_MOST]


def all_reasons(facts: Sequence[PartFacts]) -> dict[str, int]:
    """Return the numbers of images that cannot be read, by reason."""
    counted: Counter[str] = Counter()
    for each in facts:
        counted.update(each.reasons)
    return most_common(counted)


def read_record(path: Path) -> AnswersRecord:
    """Read a record of answers.

    Raises:
        WeMoEError: it is damaged, or of a later version.
    """
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        faults = RECORD_SCHEMA.faults(found)
        if faults.wrong or faults.unknown:
            raise ValueError(faults.wrong or f"it has {faults.unknown_in_words}")
    except ValueError as error:
        raise WeMoEError(
            f"{path} is damaged or of another version ({error}): begin anew with --fresh."
        ) from error
    return RECORD_SCHEMA.make(found)

"""What an offline run of Weights & Biases has recorded, read back from its file."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

FILE_HEADER, BLOCK = 7, 32 * 1024
RECORD_HEADER = struct.Struct("<IHB")  # checksum, length, kind
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class Recorded:
    """The parts of a run that the tests look at."""

    run: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    alerts: list[tuple[str, str]] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)

    def curve(self, key: str) -> list[tuple[float, Any]]:
        """The values of a metric, each with its step."""
        return [(row["trainer/global_step"], row[key]) for row in self.history if key in row]


def read_back(folder: Path) -> Recorded:
    """The only run below `folder/wandb`."""
    [path] = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    recorded = Recorded()
    for record in records(path.read_bytes()):
        add(recorded, record)
    return recorded


def records(contents: bytes) -> Iterator[Record]:
    """The records of a file, which lie in blocks as LevelDB's log has them."""
    place, parts = FILE_HEADER, b""
    while place + RECORD_HEADER.size <= len(contents):
        left = BLOCK - place % BLOCK
        if left < RECORD_HEADER.size:
            place += left
            continue
        _, length, kind = RECORD_HEADER.unpack_from(contents, place)
        place += RECORD_HEADER.size
        parts += contents[place : place + length]
        place += length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def add(recorded: Recorded, record: Record) -> None:
    """Sort a record in."""
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run = record.run
        names = {"project": run.project, "group": run.run_group, "job_type": run.job_type}
        recorded.run |= names | {"id": run.run_id, "tags": list(run.tags)}
        update(recorded.config, run.config.update)
    elif kind == "config":
        update(recorded.config, record.config.update)
    elif kind == "history":
        row: dict[str, Any] = {}
        update(row, record.history.item)
        recorded.history.append(row)
    elif kind == "summary":
        update(recorded.summary, record.summary.update)
    elif kind == "metric":
        metric = record.metric
        kinds = ("min", "max", "mean", "last", "best")
        recorded.metrics[metric.name or metric.glob_name] = {
            "step": metric.step_metric,
            "summary": {name for name in kinds if getattr(metric.summary, name)},
            "hidden": metric.options.hidden,
        }
    elif kind == "alert":
        recorded.alerts.append((record.alert.title, record.alert.text))
    elif kind == "artifact":
        artifact = record.artifact
        recorded.artifacts.append(
            {
                "name": artifact.name,
                "type": artifact.type,
                "aliases": list(artifact.aliases),
                "metadata": json.loads(artifact.metadata or "{}"),
                "files": {entry.path: entry.size for entry in artifact.manifest.contents},
            }
        )


def update(into: dict[str, Any], items: Any) -> None:
    """Values by key, as JSON."""
    for item in items:
        keys = list(item.nested_key) or [item.key]
        place = into
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = json.loads(item.value_json)

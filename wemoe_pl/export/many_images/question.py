"""Say on what answers depend: the model, the images and the options; and what of it has changed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wemoe_pl.data.tasks import printable
from wemoe_pl.data.tasks.decoding import READER
from wemoe_pl.export.loading import export_folder, load, open_model
from wemoe_pl.export.manifest import MANIFEST, read_manifest
from wemoe_pl.model.classifier import MultiTaskClassifier

AskedQuestion = dict[str, Any]
# The parts of a question, each with the words by which a difference in it is told.
DIFFERENCES = {
    "weights": "another model",
    "tasks": "a model of other tasks, classes or thresholds",
    "reader": "another reading of images, such as by another version of Pillow",
    "task": "{then} and not {now}",
    "batch_size": "--batch-size {then} and not {now}",
    "images": "the images {then} and not {now}",
    "folder": "paths as seen from {then} and not from {now}",
}


class RecordedModel(NamedTuple):
    """A `RecordedModel` is a classifier with the record of the files that it was made of.

    Attributes:
        classifier: the classifier.
        source: the source that was given for it.
        sources: the source of each frozen part, with its SHA-256.
    """

    classifier: MultiTaskClassifier
    source: str
    sources: dict[str, Any]


def load_recorded(source: str, allow: Sequence[str] = ()) -> RecordedModel:
    """Load a classifier as `load` does, with the record of the files that it was made of.

    Args:
        source: the same as for `load`.
        allow: the same as for `load`.

    Raises:
        WeMoEError: see `load`.
    """
    folder = export_folder(source)
    if folder is not None:
        manifest = read_manifest(folder / MANIFEST)
        if manifest.format == "bundle":
            return RecordedModel(load(source, allow), source, as_dictionaries(manifest.sources))
    model = open_model(source, allow)
    return RecordedModel(model.classifier, source, as_dictionaries(model.sources))


def as_dictionaries(sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return sources as plain dictionaries."""
    return {part: dict(source) for part, source in sources.items()}


def asked_question(
    model: MultiTaskClassifier, sources: Sequence[str], task: str | None, batch_size: int
) -> AskedQuestion:
    """Return all that answers depend on, as plain values.

    Args:
        model: the classifier, which answers.
        sources: the images as they were given.
        task: the task of all images; None if it is inferred for each.
        batch_size: the number of images that are answered at once, on which rounding may depend.
    """
    is_relative = any(not Path(source).expanduser().is_absolute() for source in sources)
    return {
        "weights": weights_hash(model),
        "tasks": {
            "classes": {name: list(model.head(name).classes) for name in model.tasks},
            "thresholds": {rule: dict(each) for rule, each in model.measured.thresholds.items()},
        },
        "reader": f"{READER}, {model.preprocess.fingerprint}",
        "task": task,
        "batch_size": batch_size,
        "images": [printable(source) for source in sources],
        "folder": printable(Path.cwd()) if is_relative else None,
    }


def weights_hash(model: MultiTaskClassifier) -> str:
    """Return the SHA-256 of all weights of a model, with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        if isinstance(weight, Tensor):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\0".encode())
            stored = weight.detach().cpu().contiguous().flatten()
            digest.update(stored.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def question_hash(question: AskedQuestion) -> str:
    """Return the SHA-256 of a question."""
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def difference_between(then: Mapping[str, Any], now: AskedQuestion) -> str:
    """Say in what a question differs from an earlier one; return "" if it is the same."""
    for name, words in DIFFERENCES.items():
        if then.get(name) != now[name]:
            return words.format(then=in_short(name, then.get(name)), now=in_short(name, now[name]))
    return ""


def in_short(name: str, value: Any) -> str:
    """Return a part of a question as text.

    >>> in_short("task", None), in_short("task", "mnist"), in_short("images", ["a", "b"])
    ('inferred tasks', '--task mnist', 'a b')
    """
    if name == "task":
        return "inferred tasks" if value is None else f"--task {value}"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)

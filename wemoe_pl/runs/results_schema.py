"""Define the fields of `results.json`, and read the file with a check of its fields."""

from collections.abc import Mapping
from math import isclose
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from wemoe_pl.errors import CheckpointError
from wemoe_pl.model.measured import Measured
from wemoe_pl.runs.checkpoint_schema import Digest, Natural, ProgramRecord, Source
from wemoe_pl.system.schema import STRICT, Schema, parse_json

Fraction = Annotated[
    float, Field(ge=0, le=1 + 1e-6)
]  # in single precision a sum of shares may exceed 1
ByTask = dict[str, float]
Accuracies = dict[str, Fraction]
MeanRoutingRecord = dict[str, list[list[float]]]  # by task, a row of routing weights per block


class Parameters(TypedDict):
    """`Parameters` gives the size of an encoder."""

    total: Natural
    trainable: Natural


class CorruptionRecord(TypedDict):
    """A `CorruptionRecord` describes a corruption of images; `Corruption` has the other options."""

    kind: str
    severity: int
    seed: NotRequired[int]
    source: NotRequired[str]
    published_pixelate: NotRequired[bool]


class RenderRecord(TypedDict):
    """A `RenderRecord` describes a render of the miniature's images other than the suite's."""

    seed: Natural
    images: Natural


class RuleScores(TypedDict):
    """`RuleScores` holds the scores of one rule by which tasks are inferred."""

    accuracy: Accuracies
    task_accuracy: Accuracies
    mean: Fraction | None
    threshold: NotRequired[Accuracies]


class GuardReport(TypedDict):
    """A `GuardReport` is the report of a `CollapseGuard`."""

    action: str
    score: NotRequired[str]
    collapsed: dict[str, Natural]
    restored_step: Natural | None


class ValidatedStep(TypedDict):
    """A `ValidatedStep` holds the scores of a validation, by result and task."""

    step: Natural
    scores: dict[str, ByTask]


class AdaptationEnds(TypedDict, total=False):
    """`AdaptationEnds` holds a fit's first and last validation on the same images, if known."""

    before: ValidatedStep
    after: ValidatedStep


class ScoredCheckpoint(TypedDict):
    """A `ScoredCheckpoint` identifies the checkpoint that was scored."""

    sha256: Digest
    step: Natural


class ScoredRunRecord(TypedDict):
    """A `ScoredRunRecord` describes the run that results are of; early versions wrote less."""

    command: str
    settings: str
    images: dict[str, str]
    history: list[str]
    tested_checkpoint: str | None
    began_from: NotRequired[str | None]
    program: NotRequired[ProgramRecord]
    code: NotRequired[str]


@with_config(STRICT)
class Results(TypedDict):
    """`Results` is all of `results.json`. Versions add fields to it, and rename none."""

    suite: str
    method: str
    tasks: list[str]
    accuracy: Accuracies
    mean: Fraction | None
    normalized_mean: float | None
    reference: dict[str, Accuracies]
    parameters: Parameters
    seconds: dict[str, float]
    versions: dict[str, str]
    seed: int
    sources: dict[str, Source]
    note: NotRequired[str]
    merge: NotRequired[dict[str, Any] | None]
    experts: NotRequired[list[str]]
    corruption: NotRequired[CorruptionRecord | None]
    render: NotRequired[RenderRecord | None]
    stream: NotRequired[str]
    calibration_error: NotRequired[ByTask]
    entropy: NotRequired[ByTask]
    agreement: NotRequired[ByTask]
    reference_agreement: NotRequired[dict[str, Accuracies]]
    adaptation: NotRequired[AdaptationEnds]
    information: NotRequired[ByTask]
    diversity: NotRequired[ByTask]
    unknown_task: NotRequired[dict[str, RuleScores]]
    routing: NotRequired[MeanRoutingRecord]
    images: NotRequired[dict[str, Natural]]
    own_reference: NotRequired[str | None]
    told_task: NotRequired[bool]
    classes: NotRequired[dict[str, Natural]]
    normalized_without: NotRequired[list[str]]
    revision: NotRequired[str | None]
    command: NotRequired[str]
    guard: NotRequired[GuardReport]
    partial: NotRequired[str | None]
    curves: NotRequired[str | None]
    run: NotRequired[ScoredRunRecord]
    checkpoint: NotRequired[ScoredCheckpoint | None]
    finished: NotRequired[str]
    fast_dev_run: NotRequired[bool]


def measured_in(results: Mapping[str, Any] | None) -> Measured:
    """Return what the model of some results knows of its test images.

    It knows nothing if the run was not scored or is of an earlier version. There are no thresholds
    for a single task, and no routing weights without routers.
    """
    known = results or {}
    by_rule = known.get("unknown_task", {}).items()
    thresholds = {rule: scores["threshold"] for rule, scores in by_rule if "threshold" in scores}
    return Measured(thresholds, known.get("routing") or {})


RESULTS_SCHEMA = Schema(Results)


def read_results_file(path: Path) -> dict[str, Any]:
    """Read a `results.json`, and warn of fields that a later version has written.

    Raises:
        CheckpointError: the file is damaged, or another program's.
    """
    try:
        results = parse_json(path.read_text(encoding="utf-8"))
        faults = RESULTS_SCHEMA.faults(results)
        if wrong := faults.wrong or disagreement(results):
            raise ValueError(wrong)
    except ValueError as error:
        raise CheckpointError(
            f"{path} is damaged or was not written by wemoe-pl: {error}. Move it away, or choose "
            "another folder."
        ) from error
    faults.warn_of_unknown(path)
    return dict(results)


def disagreement(results: Results) -> str:
    """Say where results contradict themselves; return an empty text if they do not."""
    labelled = results["accuracy"]
    if labelled and sorted(results["tasks"]) != sorted(labelled):
        return "its 'tasks' are not those of 'accuracy'"
    scores, mean = labelled.values(), results["mean"]
    if scores and (mean is None or not isclose(mean, sum(scores) / len(scores), abs_tol=1e-6)):
        return f"its 'mean' is {mean}, which is not the mean of 'accuracy'"
    return ""

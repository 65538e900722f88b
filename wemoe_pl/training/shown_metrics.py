"""List the metrics that a run logs, draws and writes, with their names and units."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from wemoe_pl.training.metrics import TaskScores

Stage = Literal["train", "val", "test", ""]


class ShownMetric(NamedTuple):
    """A `ShownMetric` says under which names and in which units a run shows a metric.

    Attributes:
        name: the name in the keys under which it is logged: `val/acc`, `val/acc/<task>`.
        title: the name for people.
        stages: the stages that log it; pictures and the progress bar show the first. The key in
            the stage "" is the name alone.
        unit: the unit in pictures, summary and report.
        least_is_best: True if the smallest value is the best, as for a loss.
        progress: the format next to the progress bar; empty if it is not shown there.
        is_drawn: True if it has a panel in the picture of an adaptation.
        score: a function that computes it per task; None if it is no score of predictions.
        result: the key in `results.json`; empty if it is not written there.
        without_labels: an explanation, if it needs no labels; otherwise empty.
    """

    name: str
    title: str
    stages: tuple[Stage, ...]
    unit: str = ""
    least_is_best: bool = False
    progress: str = ""
    is_drawn: bool = False
    score: Callable[[TaskScores], dict[str, float]] | None = None
    result: str = ""
    without_labels: str = ""

    def text(self, value: float | None) -> str:
        """Write a value in the unit of the metric; a dash for None, which was not measured.

        >>> [m.text(0.256) for m in SHOWN_METRICS if m.name in ("acc", "entropy")]
        ['0.26', '25.6']
        """
        digits = 1 if self.unit == "%" else 2
        return "–" if value is None else f"{self.scale * value:.{digits}f}"

    def of(self, scores: TaskScores) -> dict[str, float]:
        """Compute the metric for every task; return {} if it is no score of predictions."""
        return self.score(scores) if self.score else {}

    def key_in(self, stage: Stage) -> str:
        """Return the key of the mean over tasks in a stage; that of one task adds `/<task>`."""
        return f"{stage}/{self.name}" if stage else self.name

    def keys(self, tasks: Iterable[str]) -> Iterator[str]:
        """Yield all keys under which the metric may be logged."""
        for stage in self.stages:
            yield self.key_in(stage)
            yield from (f"{self.key_in(stage)}/{task}" for task in tasks)

    @property
    def key(self) -> str:
        """Return the key in the stage in which the metric is shown."""
        return self.key_in(self.stages[0])

    @property
    def label(self) -> str:
        """Return the title with the unit, for axes and columns.

        >>> [metric.label for metric in SHOWN_METRICS if metric.is_drawn]
        ['entropy, nats', 'accuracy, %', 'agreement with the experts, %', 'classes predicted, %']
        """
        return f"{self.title}, {self.unit}"

    @property
    def scale(self) -> int:
        """Return the number of units that a value of 1 corresponds to."""
        return 100 if self.unit == "%" else 1


SHOWN_METRICS = [
    ShownMetric("loss", "loss", ("train",), least_is_best=True, progress="{:.3f}"),
    ShownMetric(
        "entropy", "entropy", ("train", "val", "test"), unit="nats", least_is_best=True,
        progress="{:.3f}", is_drawn=True, score=TaskScores.entropy, result="entropy",
        without_labels="Entropy is how uncertain the predictions are: 0 when all are certain.",
    ),
    ShownMetric(
        "acc", "accuracy", ("val", "test"), unit="%", progress="{:.1%}", is_drawn=True,
        score=TaskScores.accuracy, result="accuracy",
    ),
    ShownMetric(
        "calibration_error", "calibration error", (), unit="%", least_is_best=True,
        score=TaskScores.calibration_error, result="calibration_error",
    ),
    ShownMetric(
        "agreement", "agreement with the experts", ("val", "test"), unit="%", is_drawn=True,
        score=TaskScores.agreement, result="agreement",
        without_labels=(
            "Agreement is the share of images for which the answer is that of the task's own "
            "expert: it equals the accuracy where the expert is always right."
        ),
    ),
    ShownMetric(
        "information", "information", ("val", "test"), unit="%",
        score=TaskScores.information, result="information",
        without_labels=(
            "Information is what the predictions tell about the images: 100 when all are certain "
            "and all classes are equally frequent, 0 when all images get the same answer."
        ),
    ),
    ShownMetric(
        "diversity", "classes predicted", ("val", "test", "train"), unit="%", is_drawn=True,
        score=TaskScores.diversity, result="diversity",
        without_labels="Classes predicted is the share of a task's classes that its predictions "
        "spread over.",
    ),
    ShownMetric("normalized_mean", "normalized mean", ("val",), unit="%"),
    ShownMetric("gradient_norm", "norm of the gradient", ("train",), least_is_best=True),
    ShownMetric("learning_rate", "learning rate", ("train",), least_is_best=True),
    ShownMetric("images_per_second", "images per second", ("train",)),
    ShownMetric("routing", "weight of the own expert", ("",)),
]  # fmt: skip
DRAWN = [metric for metric in SHOWN_METRICS if metric.is_drawn]
ACCURACY, AGREEMENT, INFORMATION, CALIBRATION = (
    next(m for m in SHOWN_METRICS if m.name == name)
    for name in ("acc", "agreement", "information", "calibration_error")
)
# A bound that follows from the agreement, and so is neither logged nor written to results.
CERTIFICATE = ShownMetric(
    "certificate", "gap to the expert's accuracy, at most", (), unit="%", least_is_best=True,
    without_labels="On these images the accuracy of a task differs from its expert's by at most "
    "1 − agreement, whatever their labels.",
)  # fmt: skip
LABEL_FREE = [metric for metric in SHOWN_METRICS if metric.without_labels]
# Scores by which settings, or states of a model, can be chosen without labels.
LabelFreeScore = Literal["information", "agreement"]
CHOSEN_BY: dict[LabelFreeScore, ShownMetric] = {"information": INFORMATION, "agreement": AGREEMENT}
POOR_EXPERTS = (
    "The images are corrupted, and the experts themselves may be poor on them: the model that "
    "agrees with them most need not be the best."
)

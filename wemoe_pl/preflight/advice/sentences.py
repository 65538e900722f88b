"""Turn figures into sentences: each names its figure, the limit if there is one, and the source."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wemoe_pl.moe.scaling import DEFAULT_SCALING
from wemoe_pl.preflight.advice.classes import Containment
from wemoe_pl.preflight.advice.confidence import Confidence
from wemoe_pl.preflight.advice.measures import KEEP, TaskVectorFigures

# A sum of task vectors that is longer than the longest of them leads further from the pretrained
# weights than any expert has been seen to work.
REACH = 1.0
# Each of these is halfway between a value at which merges gained on a miniature, and one at which
# some of them fell below the pretrained model. docs/advice.md has the measurements.
NORM_RATIO = 2.1  # between 1.4 and 2.8, for spectral merges
NORM_RATIO_OF_SUMS = 3.5  # between 2.8 and 4.2, for task arithmetic
CONFIDENT = 0.81  # between 0.93 and 0.68, for spectral merges
SAME = 0.999  # the cosine of two task vectors that differ by no more than 5% of their length
MEASURED = "measured on the miniatures (docs/advice.md)"
DISTAC = "arXiv 2508.01148"
TASK_ARITHMETIC = "arXiv 2212.04089"


@dataclass(frozen=True)
class Sentence:
    """A `Sentence` says one thing about the experts, and names the figure that it rests on.

    Args:
        figure: the name of the figure.
        value: the figure.
        text: the sentence.
        source: the source of the figure's meaning, and of its limit if it has one.
        limit: the value beyond which the sentence warns; None if there is no such value.
        warns: True if the figure is beyond its limit, or speaks against merging.
    """

    figure: str
    value: float
    text: str
    source: str
    limit: float | None = None
    warns: bool = False


def vector_sentences(found: TaskVectorFigures) -> Iterator[Sentence]:
    """Yield the sentences on task vectors alone."""
    yield length_sentence(found)
    yield norm_ratio_sentence(found)
    yield cosine_sentence(found)
    yield reach_sentence(found)
    yield outside_sentence(found)
    yield conflict_sentence(found)


def length_sentence(found: TaskVectorFigures) -> Sentence:
    """Say how long the task vectors are."""
    lengths = found.lengths()
    least, most = lengths.min(), lengths.max()
    text = (
        f"The task vectors of {len(found.tasks)} experts are {least:.1%} to {most:.1%} as long as "
        "the pretrained weights, so all of them are fine-tuned from these."
    )
    return Sentence("longest task vector", float(most), text, TASK_ARITHMETIC)


def norm_ratio_sentence(found: TaskVectorFigures) -> Sentence:
    """Say how much longer the longest task vector is than the shortest."""
    lengths = found.lengths()
    longest, shortest = found.tasks[lengths.argmax()], found.tasks[lengths.argmin()]
    warns = found.norm_ratio > NORM_RATIO
    text = (
        f"The longest task vector ({longest}) is {found.norm_ratio:.1f} times as long as the "
        f"shortest ({shortest}), "
    )
    text += (
        f"above {NORM_RATIO:g}: spectral merges may then lose the tasks with short ones. Fine-tune "
        f"{longest} with a smaller learning rate or for fewer steps."
        if warns
        else f"which is not above {NORM_RATIO:g}: no task outweighs the others by its length."
    )
    source = f"{DISTAC}; limit {MEASURED}"
    return Sentence("norm ratio", found.norm_ratio, text, source, NORM_RATIO, warns)


def cosine_sentence(found: TaskVectorFigures) -> Sentence:
    """Say which two task vectors are the nearest to each other."""
    cosine, first, second = found.nearest
    warns = cosine > SAME
    text = (
        f"The nearest two task vectors ({first}, {second}) have a cosine of {cosine:.2f}; the "
        f"mean over all pairs is {found.shown_mean_cosine}"
    )
    text += (
        ": both experts are the same weights, and merging counts them twice. Leave one out."
        if warns
        else ". Task vectors that share nothing have a cosine of 0."
    )
    return Sentence("largest cosine", cosine, text, TASK_ARITHMETIC, SAME, warns)


def reach_sentence(found: TaskVectorFigures) -> Sentence:
    """Say how far the sum of all task vectors leads, as more tasks are added."""
    reach, pair = found.reach(DEFAULT_SCALING), found.reach(DEFAULT_SCALING, 2)
    warns = reach > REACH
    text = (
        f"The sum of task vectors times {DEFAULT_SCALING} leads {pair:.2f} times as far from the "
        f"pretrained weights as the furthest expert with 2 tasks, and {reach:.2f} times with "
        f"{len(found.tasks)}: "
    )
    text += (
        f"further than any expert itself. A coefficient of {DEFAULT_SCALING * REACH / reach:.2f} "
        "leads as far as the furthest expert."
        if warns
        else "no further than an expert itself."
    )
    source = f"{TASK_ARITHMETIC}; limit {MEASURED}"
    return Sentence("reach", reach, text, source, REACH, warns)


def outside_sentence(found: TaskVectorFigures) -> Sentence:
    """Say how much of the task vectors lies where WEMoE does not route."""
    reach = found.reach_outside(DEFAULT_SCALING)
    warns = reach > REACH
    text = (
        f"{found.share_outside:.0%} of the squared length of task vectors lies outside the MLPs, "
        f"which WEMoE merges by task arithmetic: their sum there times {DEFAULT_SCALING} leads "
        f"{reach:.2f} times as far as the furthest expert"
    )
    text += ", further than any expert itself." if warns else ", no further than an expert itself."
    source = f"arXiv 2402.00433; limit {MEASURED}"
    return Sentence("reach outside MLPs", reach, text, source, REACH, warns)


def conflict_sentence(found: TaskVectorFigures) -> Sentence:
    """Say how many of the largest entries differ in sign, as more tasks are added."""
    first, last = found.conflicts[0], found.conflicts[-1]
    text = (
        f"Among the {KEEP:.0%} largest entries of each task vector, {last:.0%} of those that any "
        f"of {len(found.tasks)} experts has are positive for one expert and negative for another"
    )
    text += f"; with 2 experts it is {first:.0%}." if len(found.tasks) > 2 else "."
    return Sentence("sign conflicts", last, text, "arXiv 2306.01708")


def confidence_sentences(found: Mapping[str, Confidence | str]) -> Iterator[Sentence]:
    """Yield a sentence on the least confident expert, and on all that are below the limit."""
    known = {task: c for task, c in found.items() if isinstance(c, Confidence)}
    if not known:
        return
    least = min(known, key=lambda task: known[task].probability)
    low = under_confident(known)
    value, shown = known[least].probability, known[least]
    text = (
        f"On {shown.images} unlabelled {shown.split} images, the least confident expert ({least}) "
        f"gives its answers a mean probability of {value:.2f}, "
    )
    text += (
        f"below {CONFIDENT:g}, as {len(low)} of {len(known)} experts do "
        f"({', '.join(low)}). Spectral merges may then fail. Train on without label smoothing, or "
        "sharpen the experts by distillation."
        if low
        else f"which is not below {CONFIDENT:g}."
    )
    source = f"{DISTAC}; limit {MEASURED}"
    yield Sentence("least confidence", value, text, source, CONFIDENT, bool(low))


def under_confident(found: Mapping[str, Confidence | str]) -> list[str]:
    """Return the tasks whose experts are less sure of their answers than the limit."""
    return [
        task
        for task, confidence in found.items()
        if isinstance(confidence, Confidence) and confidence.probability < CONFIDENT
    ]


def unseen_sentences(found: Mapping[str, Confidence | str]) -> Iterator[Sentence]:
    """Yield a sentence on each task whose images could not be read."""
    for task, reason in found.items():
        if isinstance(reason, str):
            text = f"The confidence of the expert of {task} was not measured: {reason}"
            yield Sentence("images", 0, text, "the images of the task", warns=True)


def class_sentences(found: Sequence[Containment]) -> Iterator[Sentence]:
    """Yield a sentence on each pair of tasks of which one has all classes of the other."""
    for pair in found:
        text = (
            f"{pair.inner} and {pair.outer} have the same {pair.shared} classes"
            if pair.equal
            else f"{pair.outer} has all {pair.shared} classes of {pair.inner}"
        )
        text += (
            ": if nobody tells the task of an image, it cannot be told from its class. Give the "
            "task with each image, or use one head for both."
        )
        yield Sentence("shared classes", pair.shared, text, "the class names", warns=True)


def head_sentences(wrong: Mapping[str, str]) -> Iterator[Sentence]:
    """Yield a sentence on each head that does not fit."""
    for task, reason in wrong.items():
        text = f"The head of {task} cannot be used: {reason}"
        yield Sentence("heads that fit", 0, text, "the head and the images", warns=True)


def left_out_sentences(left_out: Mapping[str, str]) -> Iterator[Sentence]:
    """Yield a sentence on each expert that cannot be merged."""
    for task, reason in left_out.items():
        text = f"The expert of {task} cannot be merged, and is left out: {reason}"
        yield Sentence("experts left out", len(left_out), text, "the encoder", warns=True)

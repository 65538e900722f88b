"""Make the advice on a suite: measure its experts, and put the figures into sentences."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import at_least
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.moe.scaling import DEFAULT_SCALING
from wemoe_pl.preflight.advice.candidates import Candidates, find_candidates
from wemoe_pl.preflight.advice.classes import contained_classes, look_at_heads
from wemoe_pl.preflight.advice.confidence import Confidence, measure_confidence
from wemoe_pl.preflight.advice.costs import Cost, costs_of, planned
from wemoe_pl.preflight.advice.measures import TaskVectorFigures, measure
from wemoe_pl.preflight.advice.methods import Verdict, judge
from wemoe_pl.preflight.advice.picture import plot_advice
from wemoe_pl.preflight.advice.printing import print_advice, verdict_rows
from wemoe_pl.preflight.advice.sentences import (
    Sentence,
    class_sentences,
    confidence_sentences,
    head_sentences,
    left_out_sentences,
    unseen_sentences,
    vector_sentences,
)
from wemoe_pl.preflight.folder import check_writable
from wemoe_pl.reporting.markdown import grid
from wemoe_pl.system.console import Console
from wemoe_pl.system.files import atomic_rewrite, make_folder
from wemoe_pl.system.provenance import revision, versions

ADVICE_FILE = "advice.json"
PICTURE_FILE = "advice.png"
PAGE_WIDTH = 100  # characters of a line of advice as text


@dataclass(frozen=True)
class Advice:
    """An `Advice` says what speaks for and against merging the experts of a suite.

    Args:
        suite: the name of the suite.
        sentences: the findings, each with the figure that it rests on.
        verdicts: the judgement of each method, with the reason.
        costs: the memory and arithmetic of each method, by the name of its config.
        left_out: the reason against each expert that cannot be merged, by task.
        figures: all that was measured, as plain values.
        about: versions, revision, and the sources of all weights with their hashes.
        vectors: the measurements of task vectors, of which the picture is drawn.
    """

    suite: str
    sentences: tuple[Sentence, ...]
    verdicts: tuple[Verdict, ...]
    costs: Mapping[str, Cost]
    left_out: Mapping[str, str]
    figures: Mapping[str, Any]
    about: Mapping[str, Any]
    vectors: TaskVectorFigures = field(repr=False)

    def table(self) -> str:
        """Return the verdicts and costs of all methods as a table in Markdown."""
        titles, *rows = verdict_rows(self.verdicts, self.costs)
        return grid(titles, rows, align="---")

    def __str__(self) -> str:
        page = StringIO()
        print_advice(Console(file=page, width=PAGE_WIDTH), self.suite, *self.parts)
        return page.getvalue().strip("\n")

    @property
    def parts(self) -> tuple[tuple[Sentence, ...], tuple[Verdict, ...], Mapping[str, Cost]]:
        """Return what is printed: sentences, verdicts and costs."""
        return self.sentences, self.verdicts, self.costs

    def write(self, out: Path) -> list[Path]:
        """Write `advice.json` and the picture into a folder, and return their paths."""
        make_folder(out)
        plain = {
            "suite": self.suite,
            "about": dict(self.about),
            "sentences": [asdict(sentence) for sentence in self.sentences],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "costs": [asdict(cost) for cost in self.costs.values()],
            "left_out": dict(self.left_out),
            "figures": dict(self.figures),
        }
        plot_advice(out / PICTURE_FILE, self.vectors, self.suite)
        with atomic_rewrite(out / ADVICE_FILE) as temporary:
            text = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False)
            temporary.write_text(f"{text}\n", encoding="utf-8")
        return [out / ADVICE_FILE, out / PICTURE_FILE]


def advise(suite: Suite | str | Path, images: int = 0, out: str | Path | None = None) -> Advice:
    """Say what speaks for and against merging the experts of a suite, before anything is merged.

    The advice rests on weights alone or, if `images` is given, also on how sure each expert is of
    its answers. It merges nothing and needs no label.

    Args:
        suite: a suite, the path of its YAML, or the name of a shipped one, such as "miniature".
        images: the number of unlabelled images of every task, at most; by default none is read.
        out: a folder, which gets `advice.json` and `advice.png`; by default nothing is written.

    Raises:
        ConfigError: there is no such suite, or fewer than two of its experts can be merged.
        CheckpointError: the pretrained encoder cannot be read.
    """
    at_least(0, "images", images)
    whole = suite if isinstance(suite, Suite) else read_suite(suite)
    if out is not None:
        check_writable(Path(out))
    advice = advice_on(whole, find_candidates(whole), images)
    if out is not None:
        advice.write(Path(out))
    return advice


def advice_on(whole: Suite, candidates: Candidates, images: int) -> Advice:
    """Make the advice on the experts of a suite that can be merged."""
    kept = {task: whole.experts[task] for task in candidates.experts}
    suite = replace(whole, experts=kept)
    vectors = measure(candidates.pretrained, candidates.experts)
    heads, wrong = look_at_heads(suite, kept)
    classes = {task: head.classes for task, head in heads.items()}
    contained = contained_classes(classes)
    confidence = measure_confidence(suite, candidates.experts, heads, images) if images else {}
    sentences = (
        *left_out_sentences(candidates.left_out),
        *vector_sentences(vectors),
        *confidence_sentences(confidence),
        *unseen_sentences(confidence),
        *class_sentences(contained),
        *head_sentences(wrong),
    )
    figures = {
        **figures_of(vectors),
        "confidence": plain_confidence(confidence),
        "contained_classes": [pair._asdict() for pair in contained],
        "heads_that_do_not_fit": wrong,
        "dictionary": planned(suite),
    }
    return Advice(
        suite=suite.name,
        sentences=sentences,
        verdicts=tuple(judge(vectors, confidence)),
        costs={cost.config: cost for cost in costs_of(suite)},
        left_out=dict(candidates.left_out),
        figures=figures,
        about=origin_of(suite, images),
        vectors=vectors,
    )


def figures_of(found: TaskVectorFigures) -> dict[str, Any]:
    """Return what was measured of task vectors as plain values, by layer where it is known."""
    counts = range(2, len(found.tasks) + 1)
    return {
        "tasks": list(found.tasks),
        "lengths": {layer: finite_lengths(found, layer) for layer in found.grams},
        "cosines": {layer: found.cosines(layer).tolist() for layer in found.grams},
        "norm_ratio": found.norm_ratio,
        "mean_cosine": found.mean_cosine,
        "reach": {str(count): found.reach(DEFAULT_SCALING, count) for count in counts},
        "reach_outside": found.reach_outside(DEFAULT_SCALING),
        "share_outside": found.share_outside,
        "sign_conflicts": dict(zip(map(str, counts), found.conflicts, strict=True)),
        "model_stock": found.stock,
    }


def finite_lengths(found: TaskVectorFigures, layer: str) -> dict[str, float | None]:
    """Return the length of each task vector in a layer; None where pretrained weights are 0."""
    values = (value if value < float("inf") else None for value in found.lengths(layer).tolist())
    return dict(zip(found.tasks, values, strict=True))


def plain_confidence(found: Mapping[str, Confidence | str]) -> dict[str, Any]:
    """Return confidences as plain values; a text is the reason why there is none."""
    return {task: c if isinstance(c, str) else asdict(c) for task, c in found.items()}


def origin_of(suite: Suite, images: int) -> dict[str, Any]:
    """Return what makes the advice what it is: versions, revision, and the hashes of weights."""
    alone = replace(suite, heads={}, text_tower=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal experts, which have a sentence of their own
        sources = alone.sources()
    return {
        "images": images,
        "versions": versions(),
        "revision": revision(),
        "sources": sources,
    }

"""Compare the advice on both miniatures with what then happened, in docs/advice.md.

    python benchmarks/advice_table.py
    python benchmarks/advice_table.py ratios

The first command makes the advice on both suites, keeps its verdicts in benchmarks/advice, and
compares them with the tables of docs/miniature.md. It takes a minute. A test compares the page with
the kept verdicts. The second command measures what one long task vector does to the other tasks,
keeps the figures in the same folder, and takes five minutes.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from methods_page import DASH, ENTRIES, MEASURED, Entry, measured_mean, method_of, miniature_means
from miniature_tables import insert
from torch import Tensor

from wemoe_pl import advise, read_suite
from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.spelling import spelled
from wemoe_pl.reporting.markdown import Markdown, grid

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "advice.md"
KEPT = ROOT / "benchmarks" / "advice"
SUITES = ("miniature", "miniature20")
IMAGES = 64  # of every task, that its expert is shown
MARKS = {"miniature": "methods", "miniature20": "miniature20 methods"}
LONGEST = "svhn"  # the task whose task vector is made longer
FACTORS = (1, 2, 3, 4)  # its length, relative to the longest other task vector
MERGES = ("task_arithmetic", "tsv_m", "iso_c", "wudi")
SCORED = 200  # test images of each task


def main() -> None:
    """Make and keep the advice or, with the word ratios, that measurement; then write the page."""
    KEPT.mkdir(exist_ok=True)
    if "ratios" in sys.argv[1:]:
        keep("ratios", measured_ratios())
    else:
        for suite in SUITES:
            keep(suite, advice_of(suite))
    DOCUMENT.write_text(advice_page(DOCUMENT.read_text("utf-8")), encoding="utf-8")


def keep(name: str, found: Any) -> None:
    """Write plain values into the folder of what is kept."""
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (KEPT / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def kept(name: str) -> Any:
    """Read plain values from the folder of what is kept."""
    return json.loads((KEPT / f"{name}.json").read_text("utf-8"))


def advice_of(suite: str) -> dict[str, Any]:
    """Make the advice on a suite, and return its verdicts and the figures that they rest on."""
    advice = advise(suite, IMAGES)
    return {
        "verdicts": [
            {"config": v.config, "judgement": v.judgement, "than": v.than, "figure": v.figure}
            for v in advice.verdicts
        ],
        "figures": {s.figure: round(s.value, 3) for s in advice.sentences},
    }


def advice_page(text: str) -> str:
    """Put the tables between their marks in the text of the page."""
    for suite in SUITES:
        text = insert(text, suite, agreement(suite))
    text = insert(text, "figures", figures_table())
    return insert(text, "ratios", ratios_table())


def agreement(suite: str) -> str:
    """Make the table of a suite: each verdict, both accuracies, and whether they agree."""
    rows = [*compared(suite)]
    right = sum(row[-1] == "yes" for row in rows)
    titles = ["method", "advice", "by", "accuracy", "compared with", "agrees"]
    cells = [[*map(Markdown, row)] for row in rows]
    return f"{grid(titles, cells, align='---')}\n\n{right} of {len(rows)} agree.\n"


def compared(suite: str) -> Iterator[list[str]]:
    """Yield the rows of the table of a suite, without open verdicts and unmeasured methods."""
    means = means_of(suite)
    for verdict in kept(suite)["verdicts"]:
        accuracy, other = means.get(verdict["config"]), means[verdict["than"]]
        if verdict["judgement"] == "open" or accuracy is None:
            continue
        agrees = (accuracy > other) == (verdict["judgement"] == "promising")
        name = spelled(method_of(verdict["config"]).label)
        than = f"{spelled(method_of(verdict['than']).label)}, {other:.1f}"
        answer = "yes" if agrees else "**no**"
        yield [name, verdict["judgement"], verdict["figure"], f"{accuracy:.1f}", than, answer]


def means_of(suite: str) -> dict[str, float]:
    """Read the mean accuracies of docs/miniature.md, in percent, by the names of configs."""
    _, _, rest = MEASURED.read_text("utf-8").partition(f"<!-- table: {MARKS[suite]} -->")
    measured = miniature_means(f"<!-- table: methods -->{rest}")
    found = {e.config: mean_of_row(e, measured) for e in ENTRIES if not e.options}
    return {config: mean for config, mean in found.items() if mean is not None}


def mean_of_row(entry: Entry, measured: Mapping[str, str]) -> float | None:
    """Return the mean of a row, without its deviation over seeds; None if there is none."""
    text = measured_mean(entry, spelled(method_of(entry.config).label), measured)
    first = text.partition(" ")[0]
    return float(first) if first[:1].isdigit() else None


def figures_table() -> str:
    """Make the table of the figures of both suites."""
    found = {suite: kept(suite)["figures"] for suite in SUITES}
    names = dict.fromkeys(name for suite in SUITES for name in found[suite])
    rows = [[name, *(in_digits(found[suite].get(name)) for suite in SUITES)] for name in names]
    return grid(["figure", *SUITES], rows) + "\n"


def in_digits(value: float | None) -> str:
    """Return a figure as text; a dash if a suite has no such figure."""
    return DASH if value is None else f"{value:.2f}"


def ratios_table() -> str:
    """Make the table of what one long task vector does to the other tasks."""
    found = kept("ratios")
    rows = [
        [f"{row['ratio']:.1f}", *(f"{row['means'][merge]:.1f}" for merge in MERGES)]
        for row in found["rows"]
    ]
    rows.insert(0, ["pretrained", *[f"{found['pretrained']:.1f}"] * len(MERGES)])
    names = [spelled(method_of(merge).label) for merge in MERGES]
    return grid(["norm ratio", *names], rows) + "\n"


def measured_ratios() -> dict[str, Any]:
    """Score merges in which one task vector is longer, on all other tasks of the miniature."""
    suite = read_suite("miniature")
    encoder = suite.load_pretrained()
    base = {key: weight.clone() for key, weight in encoder.state_dict().items()}
    experts = {task: dict(state) for task, state in suite.load_experts().items()}
    others = [task for task in experts if task != LONGEST]
    images = {task: labelled(suite, task) for task in others}
    lengths = {task: length_of(experts[task], base) for task in experts}
    longest, shortest = max(lengths[t] for t in others), min(lengths[t] for t in others)
    rows = []
    for factor in FACTORS:
        scale = factor * longest / lengths[LONGEST]
        longer = {k: w + scale * (experts[LONGEST][k] - w) for k, w in base.items()}
        stretched = {**experts, LONGEST: longer}
        merged = {merge: method_of(merge).merge(encoder, stretched) for merge in MERGES}
        means = {merge: mean_accuracy(model, suite, images) for merge, model in merged.items()}
        rows.append({"ratio": factor * longest / shortest, "means": means})
    return {"pretrained": mean_accuracy(encoder, suite, images), "rows": rows}


def length_of(state: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> float:
    """Return the length of a task vector."""
    return math.hypot(*((state[key] - weight).norm().item() for key, weight in base.items()))


def labelled(suite: Suite, task: str) -> tuple[Tensor, Tensor]:
    """Return the first test images of a task, (N, C, H, W), and their labels, (N,)."""
    images, preprocessing = suite.task(task).images("test"), Preprocessing(suite.backbone)
    chosen = [images[place] for place in range(SCORED)]
    pixels = torch.stack([preprocessing(image) for image, _ in chosen])
    return pixels, torch.tensor([label for _, label in chosen])


@torch.no_grad()
def mean_accuracy(
    encoder: torch.nn.Module, suite: Suite, images: Mapping[str, tuple[Tensor, Tensor]]
) -> float:
    """Return the mean accuracy over tasks, in percent."""
    answers = {
        task: suite.load_head(task)(encoder(pixels)).argmax(dim=-1) == labels
        for task, (pixels, labels) in images.items()
    }
    return 100 * fmean(right.double().mean().item() for right in answers.values())


if __name__ == "__main__":
    main()

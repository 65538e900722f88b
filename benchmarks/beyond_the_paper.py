"""The tables of docs/beyond-the-paper.md: settings of WEMoE that the paper does not have.

    python benchmarks/beyond_the_paper.py
    SUITE=miniature20 ROWS=paper,best python benchmarks/beyond_the_paper.py
    SUITE=corrupted python benchmarks/beyond_the_paper.py

`SUITE` is miniature, miniature20, corrupted (four tasks under seven corruptions) or unseen (tasks
whose experts are left out). Every setting is adapted with three seeds on the shipped test images,
and scored on them; those of the first two suites also on images that are rendered anew, which no
run has seen. Runs are kept below runs/beyond; one that is there already is not run again, so the
driver goes on where it was interrupted. Two run at a time. All settings of both miniatures take
about six hours on two cores, and the other two experiments about one.

`ROWS` chooses settings by how their names begin. `RENDER` is the seed of the new images: 1, the
default, is what settings were developed on, and 2 is for the figures of the document, which are
computed once.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from miniature_tables import CORRUPTED, UNSEEN, kind_of

from wemoe_pl.reporting.markdown import grid
from wemoe_pl.reporting.table import Cell

SUITE = os.environ.get("SUITE", "miniature")
ROWS = tuple(filter(None, os.environ.get("ROWS", "").split(",")))
RENDER = int(os.environ.get("RENDER", "1"))
IMAGES = 2000  # per task, rendered anew
RUNS = Path("runs/beyond") / SUITE
SEEDS = (0, 1, 2)
BEST = ("--config", "best", "--model.learning_rate", "2e-3")
TRUSTED = ("--model.objective", "TrustedExperts", "--data.compare_with", "train")
PAPER, STATIC = "paper", ("task arithmetic", "individual")
# Each setting by its name: what is changed of the published method, or of the best one.
SETTINGS: dict[str, tuple[str, ...]] = {
    PAPER: (),
    "paper, smaller λ": ("--model.merge.init_lambda", "0.05"),
    "best": BEST,
    "best, entropy": (*BEST, "--model.objective", "Entropy"),
    "best, expert labels": (*BEST, "--model.objective", "ExpertLabels"),
    "best, trusted experts": (*BEST, *TRUSTED),
    "best, routers from noise": (*BEST, "--model.merge.start_images", "0"),
    "best, routers fitted to 200 images": (*BEST, "--model.merge.start_images", "200"),
    "best, 256 hidden units": (*BEST, "--model.merge.router_width", "256"),
    "best, attention merged": (*BEST, "--model.merge.attention", "null"),
    "best, attention by the MLP's router": (*BEST, "--model.merge.attention_router", "shared"),
    "best, one router for all blocks": (*BEST, "--model.merge.shared_router", "true"),
    "best, routers of depth 1": (*BEST, "--model.merge.router_depth", "1"),
    "best, softmax": (
        *(*BEST, "--model.merge.gate.softmax", "true"),
        *("--model.merge.gate.temperature", "0.1"),
    ),
    "best, two experts": (*BEST, "--model.merge.gate.top_k", "2"),
    "best, centre TSV-M": (
        *(*BEST, "--model.merge.centre", "TSVM", "--model.merge.init_lambda", "0"),
    ),
    "best, rest TSV-M": (*BEST, "--model.merge.rest", "TSVM"),
    "best, attention of rank 16": (
        *(*BEST, "--model.merge.attention", "LowRank"),
        *("--model.merge.attention.rank", "16"),
    ),
    "best, 32 images per task": (*BEST, "--data.images_per_task", "32"),
}
ROBUST = ("--config", "robust")
OF_CORRUPTED: dict[str, tuple[str, ...]] = {
    "task arithmetic": ("--config", "task_arithmetic"),
    "individual": ("--config", "individual"),
    PAPER: (),
    "paper, robust": ROBUST,
    "best": BEST,
    "best, robust": (*BEST, *ROBUST),
    "best, trusted experts": (*BEST, *TRUSTED),
}
OF_UNSEEN = {name: OF_CORRUPTED[name] for name in ("task arithmetic", PAPER, "best")}


class Experiment(NamedTuple):
    """An experiment adapts and scores a suite in several settings.

    Attributes:
        settings: the options of each setting, by its name.
        job: the options of all jobs.
        steps: the optimiser steps of a fit.
        grid: the options of a sweep, in addition to the seeds.
        is_scored_anew: True to also score on images that are rendered anew.
    """

    settings: Mapping[str, tuple[str, ...]]
    job: tuple[str, ...]
    steps: int
    grid: tuple[str, ...] = ()
    is_scored_anew: bool = True


ADAPT = ("--config", "adapt_miniature", "--suite")
ON_CORRUPTED = ("--config", "corrupted_miniature", "--suite", "miniature")
EXPERIMENT = {
    "miniature": Experiment(SETTINGS, (*ADAPT, "miniature"), 100),
    "miniature20": Experiment(SETTINGS, (*ADAPT, "miniature20"), 200),
    "corrupted": Experiment(OF_CORRUPTED, ON_CORRUPTED, 60, CORRUPTED, is_scored_anew=False),
    "unseen": Experiment(OF_UNSEEN, (*ADAPT, "miniature"), 100, UNSEEN, is_scored_anew=False),
}[SUITE]
QUICK = (
    *("--trainer.accelerator", "cpu", "--data.num_workers", "0"),
    *("--trainer.enable_progress_bar", "false"),
)


def main() -> None:
    """Run what is chosen, and print a table of it."""
    chosen = [name for name in EXPERIMENT.settings if not ROWS or name.startswith(ROWS)]
    if not chosen:
        there = "; ".join(EXPERIMENT.settings)
        raise SystemExit(f"ROWS={','.join(ROWS)} chooses nothing. There is: {there}.")
    for name in chosen:
        wemoe_pl("sweep", *options_of(name), "--out", str(folder(name)), "--jobs", "2")
        if EXPERIMENT.is_scored_anew:
            for run in points(name):
                score_anew(run)
    print(table(chosen) if EXPERIMENT.is_scored_anew else table_by_images(chosen))


def options_of(name: str) -> tuple[str, ...]:
    """Return the options of the sweep of a setting: a static merge has no steps and no seeds."""
    references = ("--model.references", str(EXPERIMENT.is_scored_anew).lower())
    given = (*EXPERIMENT.settings[name], *EXPERIMENT.grid)
    setting = (*EXPERIMENT.job, *given, *QUICK, *references)
    if name in STATIC:
        return setting
    # The guard of robust.yaml chooses among the states that are validated.
    validation = (
        ("--trainer.val_check_interval", str(EXPERIMENT.steps))
        if ROBUST[1] in setting
        else ("--trainer.limit_val_batches", "0")
    )
    seeds = ("--grid", f"seed_everything={','.join(map(str, SEEDS))}")
    return (*setting, *validation, "--trainer.max_steps", str(EXPERIMENT.steps), *seeds)


def folder(name: str) -> Path:
    """The folder of the runs of a setting."""
    return RUNS / name.replace(", ", "_").replace(" ", "_").replace("λ", "lambda")


def points(name: str) -> list[Path]:
    """The runs of a setting, by seed."""
    found = [folder(name) / f"seed_everything={seed}" for seed in SEEDS]
    return [run for run in found if (run / "results.json").is_file()]


def anew(run: Path) -> Path:
    """The folder of a run's scores on new images."""
    return run.parent / f"render {RENDER}" / run.name


def score_anew(run: Path) -> None:
    """Score a run on images that it has not seen, unless that was done."""
    if (anew(run) / "results.json").is_file():
        return
    wemoe_pl(
        *("test", "--config", str(run / "config.yaml"), "--out", str(anew(run))),
        *("--ckpt_path", str(run / "checkpoints" / "last.ckpt")),
        *("--data.test_render", f"{{seed: {RENDER}, images: {IMAGES}}}"),
        *("--model.references", "false"),
    )


def wemoe_pl(*arguments: str) -> None:
    """Run a command."""
    print(" ".join(arguments), flush=True)
    subprocess.run([sys.executable, "-m", "wemoe_pl", *arguments], check=True)


def table(names: Sequence[str]) -> str:
    """Means and deviations over seeds, on the images that were adapted on and on new ones."""
    header = ["setting", "stream", "normalized", "worst task", "new images", "task unknown", "min"]
    return grid(header, [row(name, points(name)) for name in names if points(name)])


def table_by_images(names: Sequence[str]) -> str:
    """Write the mean accuracy of each setting by kind of images, and over all of them."""
    found = {name: by_images(name) for name in names}
    kinds = list(dict.fromkeys(kind for of_one in found.values() for kind in of_one))
    rows = [
        [name, *(Cell.of(of_one.get(kind, [])).text for kind in kinds)]
        for name, of_one in found.items()
        if of_one
    ]
    return grid(["setting", *kinds], rows)


def by_images(name: str) -> dict[str, list[float]]:
    """Return the mean accuracies of a setting's runs, by what their images are."""
    found: dict[str, list[float]] = {}
    for path in sorted(folder(name).rglob("results.json")):
        run = json.loads(path.read_text())
        unseen = [task for task in run["tasks"] if task not in run["experts"]]
        kind = f"without {', '.join(unseen)}" if unseen else kind_of(run).replace("_", " ")
        found.setdefault(kind, []).append(run["mean"])
    return found


def row(name: str, runs: Sequence[Path]) -> list[str]:
    """The row of one setting."""
    seen = [results(run) for run in runs]
    new = [results(anew(run)) for run in runs]
    worst = [min(against_expert(one).values()) for one in seen]
    unknown = [max(rule["mean"] for rule in one["unknown_task"].values()) for one in seen]
    return [
        name,
        Cell.of([one["mean"] for one in seen]).text,
        Cell.of([one["normalized_mean"] for one in seen]).text,
        f"{100 * fmean(worst):+.1f}",
        Cell.of([one["mean"] for one in new]).text,
        Cell.of(unknown).text,
        f"{fmean(one['seconds']['fit'] for one in seen) / 60:.1f}",
    ]


def against_expert(one: Mapping[str, Any]) -> dict[str, float]:
    """The accuracy of every task less that of its expert on the same images."""
    experts = one["reference"]["individual"]
    return {task: accuracy - experts[task] for task, accuracy in one["accuracy"].items()}


def results(run: Path) -> dict[str, Any]:
    """The contents of a run's `results.json`."""
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


if __name__ == "__main__":
    main()

"""Run the experiments of docs/beyond-the-paper.md: settings of WEMoE that the paper does not have.

    python benchmarks/beyond_the_paper.py
    SUITE=miniature20 ROWS=paper,best python benchmarks/beyond_the_paper.py
    SUITE=corrupted python benchmarks/beyond_the_paper.py

`SUITE` is miniature, miniature20, corrupted (four tasks under seven corruptions) or unseen (tasks
whose experts are left out). Every setting is adapted with three seeds on the shipped test images,
and scored on them; those of the first two suites also on images that are rendered anew, which no
run has seen. Two run at a time. All settings of both miniatures take about six hours on two cores,
and the other two experiments about one.

What was scored is kept in one small file per setting, below benchmarks/beyond. A setting that has
its file is not run again, so the driver goes on where it was interrupted, on any machine; the runs
themselves lie below runs/beyond. Remove a file to run its setting again. `beyond_tables.py` draws
the tables and pictures of the document from these files.

`ROWS` chooses settings by how their names begin. `RENDER` is the seed of the new images: 2, the
default, is for the figures of the document, and 1 is what settings are developed on; with 1,
nothing is kept below benchmarks/beyond.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from miniature_tables import CORRUPTED, UNSEEN, kind_of

from wemoe_pl.system.files import atomic_write

SUITE = os.environ.get("SUITE", "miniature")
ROWS = tuple(filter(None, os.environ.get("ROWS", "").split(",")))
RENDER = int(os.environ.get("RENDER", "2"))
IMAGES = 2000  # per task, rendered anew
RUNS = Path("runs/beyond") / SUITE
KEPT = Path(__file__).parent / "beyond"
SEEDS = (0, 1, 2)
IS_KEPT = RENDER != 1  # the render by which settings are chosen
BEST = ("--config", "best", "--model.learning_rate", "1e-3")
TRUSTED = ("--model.objective", "TrustedExperts", "--data.compare_with", "train")
SLOWLY = ("--model.learning_rate", "2e-4")
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
    "best, routers fitted to 32 images": (*BEST, "--model.merge.start_images", "32"),
    "best, as many hidden units as tokens are wide": (
        *(*BEST, "--model.merge.router_width", "null"),
    ),
    "best, attention merged": (*BEST, "--model.merge.attention", "null"),
    "best, attention by the MLP's router": (*BEST, "--model.merge.attention_router", "shared"),
    "best, one router for all blocks": (*BEST, "--model.merge.shared_router", "true"),
    "best, routers of depth 1": (
        *(*BEST, "--model.merge.router_width", "null", "--model.merge.router_depth", "1"),
    ),
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
    "best, trusted experts, smaller rate": (*BEST, *TRUSTED, *SLOWLY),
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
EXPERIMENTS = {
    "miniature": Experiment(SETTINGS, (*ADAPT, "miniature"), 100),
    "miniature20": Experiment(SETTINGS, (*ADAPT, "miniature20"), 300),
    "corrupted": Experiment(OF_CORRUPTED, ON_CORRUPTED, 60, CORRUPTED, is_scored_anew=False),
    "unseen": Experiment(OF_UNSEEN, (*ADAPT, "miniature"), 100, UNSEEN, is_scored_anew=False),
}
EXPERIMENT = EXPERIMENTS[SUITE]
QUICK = (
    *("--trainer.accelerator", "cpu", "--data.num_workers", "0"),
    *("--trainer.enable_progress_bar", "false"),
)


def main() -> None:
    """Run what is chosen and is not kept yet, and keep what was scored."""
    for name in chosen():
        if IS_KEPT and kept_file(name).is_file():
            print(f"{kept_file(name)} is there: not run again.", flush=True)
            continue
        wemoe_pl("sweep", *options_of(name), "--out", str(folder(name)), "--jobs", "2")
        runs = [path.parent for path in sorted(folder(name).glob("*/results.json"))]
        if EXPERIMENT.is_scored_anew:
            for run in runs:
                score_anew(run)
        if IS_KEPT:
            keep(name, runs)


def chosen() -> list[str]:
    """Return the names of the settings that ROWS chooses."""
    names = [name for name in EXPERIMENT.settings if not ROWS or name.startswith(ROWS)]
    if not names:
        there = "; ".join(EXPERIMENT.settings)
        raise SystemExit(f"ROWS={','.join(ROWS)} chooses nothing. There is: {there}.")
    return names


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
    """Return the folder of the runs of a setting."""
    return RUNS / file_name(name)


def kept_file(name: str) -> Path:
    """Return the file that keeps what was scored of a setting."""
    return KEPT / SUITE / f"{file_name(name)}.json"


def file_name(name: str) -> str:
    """Return the name of a setting as part of a path."""
    return name.replace(", ", "-").replace(" ", "_").replace("λ", "lambda").replace("'", "")


def anew(run: Path) -> Path:
    """Return the folder of a run's scores on new images."""
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


def keep(name: str, runs: list[Path]) -> None:
    """Write what was scored of a setting into its file, with the command that makes it again."""
    first = results(runs[0])
    contents = {
        "setting": name,
        "command": " ".join(("wemoe-pl sweep", *options_of(name))),
        "versions": first["versions"],
        "revision": first["revision"],
        "images": IMAGES,
        "render": RENDER,
        "runs": [scored(run) for run in runs],
    }
    kept_file(name).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(kept_file(name)) as path:
        path.write_text(json.dumps(contents, indent=1, ensure_ascii=False) + "\n")


def scored(run: Path) -> dict[str, Any]:
    """Return the figures of one run: on its stream, and on new images if it was scored there."""
    stream = results(run)
    found = {
        "seed": stream["seed"],
        "kind": kind(stream),
        "parameters": stream["parameters"],
        "stream": figures(stream),
    }
    if (anew(run) / "results.json").is_file():
        found["new"] = figures(results(anew(run)))
    return found


def kind(run: Mapping[str, Any]) -> str:
    """Return what the images of a run are: clean, corrupted, or of tasks without experts."""
    unseen = [task for task in run["tasks"] if task not in run["experts"]]
    return f"without {', '.join(unseen)}" if unseen else kind_of(run).replace("_", " ")


def figures(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the accuracies of one scoring, as shares."""
    found = {
        "accuracy": run["accuracy"],
        "unknown_task": {rule: told["mean"] for rule, told in run["unknown_task"].items()},
    }
    if experts := run["reference"].get("individual"):
        found["individual"] = experts
    return found


def results(run: Path) -> dict[str, Any]:
    """Return the contents of a run's `results.json`."""
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


def wemoe_pl(*arguments: str) -> None:
    """Run a command."""
    print(" ".join(arguments), flush=True)
    subprocess.run([sys.executable, "-m", "wemoe_pl", *arguments], check=True)


if __name__ == "__main__":
    main()

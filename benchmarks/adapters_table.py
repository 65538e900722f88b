"""Make the table of docs/lora.md: LoRA experts of the miniature's eight tasks, and their merges.

    python benchmarks/adapters_table.py

It trains an adapter for each task, merges them by several methods, and scores everything on the
miniature's test images. Runs are kept below runs/adapters, and are not run again. All together
take about twenty minutes on two cores.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from miniature_tables import insert

from wemoe_pl.model.recipe import describe, read_suite
from wemoe_pl.reporting.markdown import grid
from wemoe_pl.system.files import atomic_write

RUNS = Path("runs/adapters")
DOCUMENT = Path(__file__).parents[1] / "docs" / "lora.md"
SUITE = RUNS / "suite.yaml"
TASKS = ("sun397", "cars", "resisc45", "eurosat", "svhn", "gtsrb", "mnist", "dtd")
ADAPT = ("--config", "adapt_miniature", "--trainer.max_steps", "100")
BEST = (*ADAPT, "--config", "best", "--model.learning_rate", "1e-3")
ISO = ("--model.merge.method", "IsoC", "--model.merge.method.alpha")
# Each row of the table: the job, whose suite is that of the adapters.
METHODS = {
    "pretrained": ("--config", "pretrained"),
    "individual": ("--config", "individual"),
    "task arithmetic": ("--config", "task_arithmetic"),
    "TSV-M": ("--config", "tsv_m"),
    "TSV-M in core space": ("--config", "core_space"),
    "Iso-C, α = 1.5": ("--config", "iso_c"),
    "Iso-C in core space, α = 1": ("--config", "core_space", *ISO, "1.0"),
    "WEMoE, 100 steps": ADAPT,
    "WEMoE with best.yaml, 100 steps": BEST,
}
QUICK = (
    *("--trainer.accelerator", "cpu", "--data.num_workers", "0"),
    *("--trainer.enable_progress_bar", "false"),
)


def main() -> None:
    """Train, merge and score what is not there yet, and put the table into the document."""
    for task in TASKS:
        run("fit", task, "--config", "finetune_miniature", "--config", "lora", "--task", task)
    write_suite()
    alone = ("--model.references", "false", "--suite", str(SUITE))
    for name, job in METHODS.items():
        command = "fit" if ADAPT[1] in job else "test"
        run(command, folder_of(name), *job, *alone)
    rows = [[name, f"{100 * results(folder_of(name))['mean']:.1f}"] for name in METHODS]
    table = grid(["method", "mean accuracy, %"], rows, align="---:")
    text = insert(DOCUMENT.read_text("utf-8"), "adapters", table)
    with atomic_write(DOCUMENT) as temporary:
        temporary.write_text(text, "utf-8")


def run(command: str, folder: str, *options: str) -> None:
    """Run a job in its folder, unless its results are there."""
    if not (RUNS / folder / "results.json").is_file():
        job = [command, *options, *QUICK, "--out", str(RUNS / folder)]
        print(" ".join(job), flush=True)
        subprocess.run([sys.executable, "-m", "wemoe_pl", *job], check=True, env=os.environ)


def write_suite() -> None:
    """Write the miniature's suite with the adapters in the place of its experts."""
    described = describe(read_suite("miniature"))
    described["experts"] = {task: str((RUNS / task).resolve()) for task in TASKS}
    SUITE.write_text(yaml.safe_dump(described))


def folder_of(name: str) -> str:
    """Return the name of the folder of a method's run.

    >>> folder_of("Iso-C, α = 1.5")
    'iso_c_1.5'
    """
    words = "".join(c if c.isascii() and (c.isalnum() or c == ".") else " " for c in name.lower())
    return "_".join(words.split())


def results(folder: str) -> Any:
    """Read the results of a run."""
    return json.loads((RUNS / folder / "results.json").read_text("utf-8"))


if __name__ == "__main__":
    main()

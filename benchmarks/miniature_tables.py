"""Make the tables of docs/miniature.md: run every method and experiment on rendered images.

    python benchmarks/miniature_tables.py
    SUITE=miniature20 python benchmarks/miniature_tables.py
    ROWS=methods/routed,methods/symerge python benchmarks/miniature_tables.py

`make tables` runs this script for both suites. Runs are kept below runs/tables. A run that is there
already is not run again, so an interrupted table continues where it stopped. Two run at a time.
Each suite takes about an hour on two cores; the suite of twenty tasks has the tables of methods and
coefficients only.

`ROWS` chooses sweeps by the beginnings of their names: no others are run. If other runs of a table
are missing, the table stays in the document as it was, and a message says so. Methods without
randomness are run once, and all others with three seeds.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from wemoe_pl.data.corruptions.severities import CORRUPTIONS

SUITE = os.environ.get("SUITE", "miniature")
ROWS = tuple(filter(None, os.environ.get("ROWS", "").split(",")))
RUNS = Path("runs/tables") if SUITE == "miniature" else Path("runs/tables") / SUITE
DOCUMENT = Path(__file__).parents[1] / "docs" / "miniature.md"
QUICK = [
    *("--suite", SUITE, "--trainer.accelerator", "cpu", "--data.num_workers", "0"),
    *("--trainer.enable_progress_bar", "false"),
]
ALONE = ("--model.references", "false")
SEEDS = ("--grid", "seed_everything=0,1,2")
ADAPT = ("--config", "adapt_miniature", "--trainer.max_steps", "100")
LEARN = ("--model.learning_rate", "5e-3", "--trainer.max_steps", "100")
# With the constant rate of the published AdaMerging, so few steps end at an arbitrary point.
ANNEALED = ("--config", "adamerging_layer_wise", "--model.schedule", "cosine")
ADAMERGING = (*ANNEALED, *LEARN)
KINDS = ",".join(["null", *(f"{{kind: {kind}, severity: 2}}" for kind in CORRUPTIONS)])
CORRUPTED = ("--tasks", "[cars,eurosat,resisc45,gtsrb]", "--grid", f"data.corruption={KINDS}")
ON_CORRUPTED = ("--config", "corrupted_miniature", "--trainer.max_steps", "60")
UNSEEN = ("--grid", "unseen=[mnist,eurosat],[resisc45,svhn]")
SOME = ["sun397", "cars", "resisc45", "eurosat", "svhn", "gtsrb", "mnist", "dtd"]
NUMBERS = ",".join(f"[{','.join(SOME[:n])}]" for n in (2, 4))
# For each method: its config, the key of its scaling coefficient, and the published value.
PUBLISHED = {
    "task arithmetic": (("--config", "task_arithmetic"), "scaling", 0.3),
    "TSV-M": (("--config", "tsv_m"), "alpha", 1.0),
    "Iso-C": (("--config", "iso_c"), "alpha", 1.5),
    "Iso-CTS": (("--config", "iso_cts"), "alpha", 1.5),
    "CART": (("--config", "cart"), "alpha", 2.3),
    "WUDI": (("--config", "wudi"), "alpha", 1.0),
    "WEMoE": (ADAPT, "init_lambda", 0.3),
}
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)  # shares of the published coefficient


def shares_of(job: tuple[str, ...], key: str, published: float) -> tuple[str, ...]:
    """Return a sweep over shares of a published coefficient, which chooses one without labels."""
    values = ",".join(f"{share * published:g}" for share in SHARES)
    return *job, "--grid", f"model.merge.{key}={values}", "--choose"


SWEEPS: dict[str, tuple[str, ...]] = {
    "methods/static": (*("--grid", "config=pretrained,individual,simple_average,task_arithmetic"),),
    "methods/spectral": ("--grid", "config=tsv_m,core_space,iso_c,iso_cts,cart,wudi,lines,svc"),
    "methods/entries": ("--grid", "config=dare,model_stock,consensus"),
    "methods/task known": ("--grid", "config=emr,tall_masks,t_switch"),
    "methods/routed": ("--grid", "config=smile,mass"),
    "methods/ties": ("--config", "ties", "--grid", "model.merge.combine=mean,sum"),
    "methods/samples": ("--grid", "config=fisher,regmean,regmean_plus_plus", *SEEDS),
    "methods/multitask": (
        *("--config", "multitask", "--model.learning_rate", "3e-4"),
        *("--trainer.max_steps", "200", *SEEDS),
    ),
    "methods/adamerging": (
        *(*ADAMERGING, "--grid", "model.merge.granularity=task,layer"),
        *("--grid", "model.merge.keep=1.0,0.2", *SEEDS),
    ),
    "methods/symerge": ("--config", "symerge", "--trainer.max_steps", "100", *SEEDS),
    "methods/symerge, heads frozen": (
        *("--config", "symerge", "--model.merge.trains_heads", "false"),
        *("--model.schedule", "cosine", *LEARN, *SEEDS),
    ),
    "methods/wemoe": (*ADAPT, "--grid", "model.merge.router_depth=0,1,2", *SEEDS),
    "methods/e_wemoe": (*ADAPT, "--model.merge", "EWEMoE", *SEEDS),
    "methods/low_rank": (
        *(*ADAPT, "--model.merge.compression", "LowRank"),
        *("--model.merge.compression.init_args.energy", "0.9", *SEEDS),
    ),
    "robustness/task arithmetic": ("--config", "task_arithmetic", *CORRUPTED),
    "robustness/WEMoE": (*ON_CORRUPTED, *CORRUPTED, *SEEDS),
    "robustness/WEMoE, robust": (*ON_CORRUPTED, "--config", "robust", *CORRUPTED, *SEEDS),
    "robustness/layer-wise AdaMerging": (
        *(*ANNEALED, "--model.learning_rate", "5e-3", "--trainer.max_steps", "60", *CORRUPTED),
    ),
    "generalisation/static": ("--grid", "config=pretrained,task_arithmetic,ties", *UNSEEN),
    "generalisation/adamerging": (*ADAMERGING, *UNSEEN),
    "generalisation/wemoe": (*ADAPT, *UNSEEN),
    **{f"coefficients/{name}": shares_of(*published) for name, published in PUBLISHED.items()},
    "tasks/task arithmetic": ("--config", "task_arithmetic", "--grid", f"tasks={NUMBERS}"),
    "tasks/WEMoE": (*ADAPT, "--grid", f"tasks={NUMBERS}"),
    "routing": (*ADAPT, "--grid", "model.merge.routing=sample,batch"),
}


def main() -> None:
    """Run everything, and put the tables into the document."""
    chosen = {name: arguments for name, arguments in SWEEPS.items() if is_meant(name)}
    if not chosen:
        raise SystemExit(f"ROWS={','.join(ROWS)} chooses nothing. There is: {'; '.join(SWEEPS)}.")
    for name, arguments in chosen.items():
        more = [*QUICK, *validation(arguments), *(() if "multitask" in arguments else ALONE)]
        wemoe_pl("sweep", *arguments, *more, "--out", folder(name), jobs=2)
    text = DOCUMENT.read_text()
    for name, make in TABLES.items():
        if missing := [sweep for sweep in sweeps_of(name) if not runs_below(sweep)]:
            print(f"The table '{name}' stays as it was: nothing of {', '.join(missing)} is there.")
        else:
            text = insert(text, name if SUITE == "miniature" else f"{SUITE} {name}", make())
    DOCUMENT.write_text(text)


def is_meant(name: str) -> bool:
    """Return whether to run a sweep: the suite has its table, and `ROWS` names it or is empty."""
    is_of_suite = name.partition("/")[0] in TABLES
    return is_of_suite and (not ROWS or name.startswith(ROWS))


def sweeps_of(table: str) -> list[str]:
    """Return the sweeps whose runs make up a table."""
    return [name for name in SWEEPS if name.partition("/")[0] == table]


def folder(name: str) -> str:
    """Return the folder of a sweep's runs."""
    return str(RUNS / name.replace(", ", "_").replace(" ", "_"))


def validation(arguments: Sequence[str]) -> tuple[str, str]:
    """Validate nothing, as the test scores the same images, unless the guard chooses a state."""
    if "robust" in arguments:
        return "--trainer.val_check_interval", arguments[arguments.index("--trainer.max_steps") + 1]
    return "--trainer.limit_val_batches", "0"


def wemoe_pl(*arguments: str, jobs: int = 0) -> str:
    """Run a command of `wemoe-pl`; return what it prints, unless it runs jobs."""
    more = ("--jobs", str(jobs)) if jobs else ()
    command = [sys.executable, "-m", "wemoe_pl", *arguments, *more]
    print(" ".join(arguments), flush=True)
    stdout = None if jobs else subprocess.PIPE
    done = subprocess.run(command, check=True, stdout=stdout, text=True)
    return done.stdout or ""


def reported(name: str, *options: str) -> str:
    """Return the tables that `wemoe-pl report` prints."""
    return wemoe_pl("report", folder(name), *options)


def runs_below(name: str) -> list[dict[str, Any]]:
    """Return the results of a sweep's runs."""
    paths = sorted(Path(folder(name)).rglob("results.json"))
    return [json.loads(path.read_text()) for path in paths]


def robustness_table() -> str:
    """Make the tables of means by corruption, and of each worst task against task arithmetic."""
    start = "robustness/task arithmetic"
    methods = sweeps_of("robustness")
    kinds = ["clean", *CORRUPTIONS]
    baseline = {kind_of(run): run["accuracy"] for run in runs_below(start)}
    means, margins = [], []
    for method in methods:
        label = method.partition("/")[2]
        by_kind: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for run in runs_below(method):
            by_kind[kind_of(run)].append(run["accuracy"])
        average = {k: fmean(fmean(a.values()) for a in runs) for k, runs in by_kind.items()}
        means.append([label, *(f"{100 * average[k]:.1f}" for k in kinds)])
        means[-1].append(f"{100 * fmean(average.values()):.1f}")
        worst = {
            k: min(a[task] - baseline[k][task] for a in runs for task in a)
            for k, runs in by_kind.items()
        }
        if method != start:
            margins.append([label, *(f"{100 * worst[k]:+.1f}" for k in kinds)])
            margins[-1].append(f"{100 * min(worst.values()):+.1f}")
    names = [kind.replace("_", " ") for kind in kinds]
    about = "Accuracy minus that of task arithmetic, points: the worst task of the worst seed."
    return (
        "Mean accuracy over the four tasks (and the seeds), %.\n\n"
        + markdown(["method", *names, "mean"], means)
        + f"\n{about}\n\n"
        + markdown(["method", *names, "worst"], margins)
    )


def kind_of(run: Mapping[str, Any]) -> str:
    """Return the kind of corruption of a run's images, or "clean"."""
    return run["corruption"]["kind"] if run["corruption"] else "clean"


def coefficients_table() -> str:
    """Make the table of accuracy and information at shares of coefficients, and of the choice."""
    rows = []
    for sweep in sweeps_of("coefficients"):
        name = sweep.partition("/")[2]
        _, key, published = PUBLISHED[name]
        found = {run["merge"]["init_args"][key] / published: run for run in runs_below(sweep)}
        runs = [found[share] for share in sorted(found)]
        chosen = max(runs, key=information_of)
        cells = (f"{100 * run['mean']:.1f} / {100 * information_of(run):.1f}" for run in runs)
        best = f"{chosen['merge']['init_args'][key]:g}: {100 * chosen['mean']:.1f}"
        rows.append([f"{name} ({published})", *cells, best])
    header = ["method (published)", *(f"× {share:g}" for share in SHARES), "chosen: accuracy"]
    return "Mean accuracy / information, %.\n\n" + markdown(header, rows)


def tasks_table() -> str:
    """Make the table of accuracy and information by the number of tasks."""
    rows = []
    counts: list[int] = []
    for sweep in sweeps_of("tasks"):
        label = sweep.partition("/")[2]
        found = {len(run["tasks"]): run for run in runs_below(sweep)}
        counts = sorted(found)
        rows.append([f"{label}, accuracy", *(f"{100 * found[n]['mean']:.1f}" for n in counts)])
        scores = (f"{100 * information_of(found[n]):.1f}" for n in counts)
        rows.append([f"{label}, information", *scores])
    return markdown(["tasks", *map(str, counts)], rows)


def information_of(run: Mapping[str, Any]) -> float:
    """Return the mean information of a run over its tasks."""
    return fmean(run["information"].values())


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def insert(text: str, name: str, table: str) -> str:
    """Return the document with a table between its marks."""
    begin, end = f"<!-- table: {name} -->", "<!-- end of table -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"The document has no place for the table '{name}': {begin} … {end}")
    return pattern.sub(lambda _: f"{begin}\n\n{table}\n{end}", text, count=1)


TABLES: dict[str, Callable[[], str]] = {
    "methods": lambda: reported("methods", "--mean-over-seeds", "--sort", "mean"),
    "robustness": robustness_table,
    "generalisation": lambda: reported("generalisation"),
    "coefficients": coefficients_table,
    "tasks": tasks_table,
    "routing": lambda: reported("routing"),
}
if SUITE != "miniature":  # the other experiments are on the first suite only
    TABLES = {name: TABLES[name] for name in ("methods", "coefficients")}


if __name__ == "__main__":
    main()

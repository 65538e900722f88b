"""The published tables: as they are in the file, and which of them belongs beside a run."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from wemoe_pl.data.tasks import PAPER_TASKS, TALL14_TASKS, TALL20_TASKS
from wemoe_pl.reporting.families import FAMILIES, UNKNOWN_FAMILY
from wemoe_pl.reporting.published import all_rows, experiment_of, published_rows
from wemoe_pl.system.configs import find_config
from wemoe_pl.system.files import SHIPPED

FOUR = ["cars", "eurosat", "resisc45", "gtsrb"]
EIGHT = list(PAPER_TASKS)
NINETEEN = [task for task in TALL20_TASKS if task != "emnist_letters"]


def results(tasks: list[str], experts: list[str] | None = None, kind: str = "") -> dict[str, Any]:
    corruption = {"kind": kind, "severity": 2} if kind else None
    return {"tasks": tasks, "experts": experts or tasks, "corruption": corruption}


def test_every_line_of_the_file_is_in_one_row() -> None:
    with (SHIPPED / "published_results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    rows = {
        (r.suite, r.checkpoint_family, r.experiment, r.method, r.source, r.seen): r
        for r in all_rows()
    }
    assert len(rows) == len(all_rows())
    for line in lines:
        key = ("suite", "checkpoint_family", "experiment", "method", "source", "seen")
        row = rows[tuple(line[part] for part in key)]  # type: ignore[index]
        value = row.mean if line["task"] == "mean" else row.accuracy[line["task"]]
        assert value == pytest.approx(float(line["accuracy_percent"]) / 100)


def test_every_row_says_which_checkpoints_and_how_it_was_read() -> None:
    assert {row.checkpoint_family for row in all_rows()} == {*FAMILIES, UNKNOWN_FAMILY}
    assert {row.seen for row in all_rows()} == {"source", "second-hand"}
    [quoted] = [r for r in published_rows("CLIP ViT-L/14", "20 tasks") if r.method == "SyMerge"]
    assert quoted.origin == "arXiv 2412.19098 (SyMerge), second-hand"


def test_individual_experts_of_a_family_are_above_what_is_merged_of_them() -> None:
    """A figure in the wrong column of a table would most often be above its ceiling."""
    for experts in all_rows():
        if experts.method == "Individual" and experts.checkpoint_family != UNKNOWN_FAMILY:
            beside = [
                row
                for row in all_rows()
                if (row.suite, row.experiment, row.checkpoint_family)
                == (experts.suite, experts.experiment, experts.checkpoint_family)
            ]
            assert max(row.mean or 0 for row in beside) == experts.mean


def test_a_mean_that_is_not_published_is_computed() -> None:
    rows = [row for row in all_rows() if "robustness" in row.experiment]
    assert rows
    for row in rows:
        assert row.mean == pytest.approx(sum(row.accuracy.values()) / 4, abs=2e-3)


@pytest.mark.parametrize("suite", ["CLIP ViT-B/32", "CLIP ViT-B/16", "CLIP ViT-L/14"])
def test_suites_are_found_by_the_names_of_ours(suite: str) -> None:
    rows = published_rows(suite, "eight tasks", "C")
    assert {"Pre-trained", "Task Arithmetic 0.3"} <= {row.method for row in rows}
    assert all(set(row.accuracy) in ({*PAPER_TASKS}, set()) for row in rows)
    assert published_rows(suite, "14 tasks")
    assert published_rows("miniature", "eight tasks") == []


@pytest.mark.parametrize(
    ("run", "experiment"),
    [
        (results(EIGHT), "eight tasks"),
        (results(EIGHT[::-1]), "eight tasks"),
        (results(EIGHT, [t for t in EIGHT if t not in ("mnist", "eurosat")]),
         "generalisation: unseen mnist, eurosat"),
        (results(EIGHT, [t for t in EIGHT if t not in ("svhn", "resisc45")]),
         "generalisation: unseen resisc45, svhn"),
        (results(EIGHT, EIGHT[:3]), None),
        (results(FOUR), "robustness: clean"),
        (results(FOUR, kind="spatter"), "robustness: spatter"),
        (results(FOUR[:3]), None),
        (results([*TALL14_TASKS]), "14 tasks"),
        (results([*TALL20_TASKS]), "20 tasks"),
        (results([*NINETEEN, "emnist_digits"]), "20 tasks with EMNIST digits"),
        (results([*TALL20_TASKS], EIGHT), None),
        (results([*NINETEEN, "own"]), None),
        (results([*TALL14_TASKS], kind="spatter"), None),
        (results(EIGHT, kind="spatter"), None),
        ({"tasks": EIGHT}, "eight tasks"),  # of an older version
    ],
)  # fmt: skip
def test_the_experiment_of_a_run_is_known_by_its_tasks(
    run: dict[str, Any], experiment: str | None
) -> None:
    assert experiment_of(run) == experiment
    if experiment:
        assert published_rows("CLIP ViT-B/32", experiment)


@pytest.mark.parametrize(
    ("config", "method", "settings"),
    [
        ("task_arithmetic", "Task Arithmetic 0.3", {"scaling": 0.3}),
        ("ties", "TIES 0.3", {"scaling": 0.3, "keep": 0.2, "combine": "sum"}),
        ("iso_c", "ISO-C (1.5)", {"alpha": 1.5, "split_qkv": True}),
        ("iso_cts", "ISO-CTS (1.5)", {"alpha": 1.5, "common": 0.8, "split_qkv": True}),
        ("regmean", "RegMean", {"off_diagonal": 0.95}),
        ("regmean_plus_plus", "RegMean++", {"off_diagonal": 0.95}),
        ("adamerging_task_wise", "Task-wise AdaMerging 0.3", {"clamp": False, "init_lambda": 0.3}),
        ("adamerging_layer_wise", "Layer-wise AdaMerging 0.3", {"clamp": False, "keep": 1.0}),
    ],
)
def test_configs_have_the_settings_of_the_number_that_they_quote(
    config: str, method: str, settings: dict[str, Any]
) -> None:
    path = Path(find_config(config))
    model = yaml.safe_load(path.read_text())["model"]["init_args"]
    options = model["merge"]["init_args"]
    assert {name: options[name] for name in settings} == settings
    assert model.get("schedule", "constant") == "constant"
    [row] = [r for r in published_rows("CLIP ViT-B/32", "eight tasks", "C") if r.method == method]
    head = path.read_text().partition("\nseed_everything")[0]
    assert row.mean is not None
    assert f" {100 * row.mean:.1f}" in head


def test_another_severity_is_not_the_published_experiment() -> None:
    run = results(FOUR, kind="spatter")
    run["corruption"]["severity"] = 3
    assert experiment_of(run) is None

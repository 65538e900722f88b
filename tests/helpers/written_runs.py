"""Runs that were never made: folders with the results and the config that a run would leave."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import yaml

from wemoe_pl.reporting.comparison import DEFAULT_TABLE, TableOptions
from wemoe_pl.reporting.report import report


def bare_results(accuracy: dict[str, float] | None = None, /, **changes: Any) -> dict[str, Any]:
    """The contents of a `results.json`, of the fields that every one has."""
    accuracy = accuracy or {}
    return {
        "suite": "tiny", "method": "WEMoE", "tasks": list(accuracy), "accuracy": accuracy,
        "mean": mean(accuracy.values()) if accuracy else None, "normalized_mean": None,
        "reference": {}, "parameters": {"total": 2, "trainable": 1}, "seconds": {},
        "versions": {"wemoe_pl": "0.1.0"}, "seed": 0, "sources": {}, **changes,
    }  # fmt: skip


def hub_sources(tasks: Iterable[str]) -> dict[str, dict[str, str]]:
    """The `sources` of a run of the experts on the hub."""
    owner = "tanganke/clip-vit-base-patch32"
    return {f"experts/{t}": {"source": f"{owner}_{t}", "sha256": "0" * 64} for t in tasks}


def results_record(**changes: Any) -> dict[str, Any]:
    """The field `run` of a `results.json`."""
    record = {"command": "fit", "settings": "", "images": {}, "history": []}
    return {**record, "tested_checkpoint": None, **changes}


def write_run(
    folder: Path, method: str, accuracy: dict[str, float], seed: int = 0,
    options: dict[str, Any] | None = None, **more: Any,
) -> Path:  # fmt: skip
    folder.mkdir(parents=True)
    own = {"method": method, "seed": seed, "note": "Rendered.", "experts": list(accuracy)}
    results = bare_results(accuracy, **{**own, "corruption": None, **more})
    (folder / "results.json").write_text(json.dumps(results))
    config = {
        "seed_everything": seed, "out": str(folder), "suite": {"name": "tiny"},
        "model": {"class_path": "TestTimeAdaptation", "init_args": options or {}},
        "trainer": {"max_steps": 10},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def printed_table(
    capsys: pytest.CaptureFixture[str], *folders: Path, options: TableOptions = DEFAULT_TABLE
) -> list[list[str]]:
    """The lines of the tables that a report prints, cell by cell."""
    report([str(folder) for folder in folders], options=options)
    lines = capsys.readouterr().out.splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]

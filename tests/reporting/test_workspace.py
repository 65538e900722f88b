"""A workspace as code: what is sent to the server, on loopback, and what is refused before."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from helpers.loopback_wandb import LoopbackWandb, serving
from helpers.written_runs import bare_results

from wemoe_pl.cli.main import main
from wemoe_pl.errors import ConfigError
from wemoe_pl.reporting.workspace import save_workspace, workspace
from wemoe_pl.training.shown_metrics import SHOWN_METRICS

KEY = "0123456789abcdef0123456789abcdef01234567"
TASKS = [f"task{number}" for number in range(8)]
QUESTIONS = [
    "Is it adapting?", "Who is routed where?", "Is anything collapsing?", "What was run?",
]  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackWandb]:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    for name in ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    with serving() as serving_one:
        monkeypatch.setenv("WANDB_BASE_URL", serving_one.url)
        yield serving_one
        wandb.teardown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run with results of eight tasks."""
    results = bare_results(dict.fromkeys(TASKS, 0.5))
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path


def keys_in(spec: Any) -> set[str]:
    """All texts in a view, of which some are keys that a run logs."""
    if isinstance(spec, dict):
        return {text for value in spec.values() for text in keys_in(value)}
    if isinstance(spec, list):
        return {text for value in spec for text in keys_in(value)}
    return {spec} if isinstance(spec, str) else set()


def test_the_command_sends_a_view_of_at_most_thirty_panels(
    server: LoopbackWandb, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["workspace", str(folder), "--project", "mine"]) == 0
    [view] = server.views
    assert (view["entityName"], view["projectName"]) == ("me", "mine")
    spec = json.loads(view["spec"])
    sections = spec["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections][:4] == QUESTIONS
    panels = [panel for section in sections for panel in section["panels"]]
    assert 15 < len(panels) <= 30
    assert server.url in capsys.readouterr().out


def test_its_panels_are_of_keys_that_a_run_logs() -> None:
    pytest.importorskip("wandb_workspaces")
    spec = workspace("me", "mine", TASKS)._to_model().spec.model_dump(by_alias=True)
    found = keys_in(spec)
    logged = {key for metric in SHOWN_METRICS for key in metric.keys(TASKS)}
    prefixes = ("train/", "val/", "test/", "routing/")
    assert {key for key in found if key.startswith(prefixes)} <= logged
    for key in ("train/entropy", "val/acc", "val/information"):
        assert {f"{key}/{task}" for task in TASKS} <= found


def test_what_the_server_refuses_is_one_sentence(server: LoopbackWandb, folder: Path) -> None:
    server.refusal = "project not found"
    with pytest.raises(ConfigError, match=r"in the project wemoe-pl: .*project not found"):
        save_workspace(folder, None, "me")


def test_without_results_or_a_key_nothing_is_asked(
    server: LoopbackWandb, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="has no results: give the folder of a run"):
        save_workspace(tmp_path / "nothing", None, None)
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ConfigError, match="there is no API key: `wandb login` stores one"):
        save_workspace(folder, None, None)
    assert server.queries == []

"""Weights & Biases neither asks for anything nor stops a run, whatever happens to it."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import wandb
from helpers.wandb_records import read_back

from wemoe_pl.reporting import wandb_run
from wemoe_pl.reporting.wandb_run import WandbRun, has_key, mode_is_set, one_line, sync_path

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def no_run_left() -> Iterator[None]:
    yield
    wandb.finish()
    wandb.teardown()


def log_once(folder: Path) -> None:
    """A run with one metric, all of which is on the disk afterwards."""
    run = WandbRun(str(folder))
    run.log_metrics({"val/acc": 0.5}, 3)
    run.close()
    wandb.finish()
    wandb.teardown()


def test_without_a_key_it_is_offline_and_says_how_to_send_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        log_once(tmp_path)
    [folder] = (tmp_path / "wandb").glob("offline-run-*")
    [line] = [record.getMessage() for record in caplog.records if "W&B" in record.getMessage()]
    assert line == (
        "W&B is offline: there is no API key (`wandb login` stores one). "
        f"Send the run later: wandb sync {folder}"
    )
    assert read_back(tmp_path).curve("val/acc") == [(3, 0.5)]


def test_a_mode_that_is_set_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = WandbRun(str(tmp_path))
    run.log_metrics({"val/acc": 0.5}, 3)
    assert not list(tmp_path.glob("wandb/*run*"))


def test_a_server_that_cannot_be_reached_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(wandb_run, "TIMEOUTS", {"init_timeout": 3.0, "finish_timeout": 3.0})
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        log_once(tmp_path)
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "the server cannot be used" in told
    assert "wandb sync" in told
    assert KEY not in told
    assert read_back(tmp_path).curve("val/acc") == [(3, 0.5)]


class Broken:
    """A run whose connection is gone."""

    id = "abc"
    calls = 0

    def log(self, *_: object, **__: object) -> None:
        self.calls += 1
        raise wandb.errors.CommError("The connection is gone.\nAsk somebody.")

    def finish(self) -> None:
        raise AssertionError("nothing is tried any more")


def test_what_fails_later_is_warned_of_once_and_the_run_goes_on(tmp_path: Path) -> None:
    broken = Broken()
    run = WandbRun(str(tmp_path), experiment=broken)
    with pytest.warns(UserWarning, match=r"goes on without W&B, which failed: The connection is"):
        run.log_metrics({"val/acc": 0.5}, 1)
    run.log_metrics({"val/acc": 0.6}, 2)
    run.log_hyperparams({"a": 1})
    run.close()
    assert broken.calls == 1


SAYS = {
    "WANDB_PROJECT": "from-outside", "WANDB_RUN_GROUP": "their group", "WANDB_TAGS": "one,two",
    "WANDB_JOB_TYPE": "their type", "WANDB_NAME": "their name", "WANDB_NOTES": "their notes",
    "WANDB_ENTITY": "them", "WANDB_RUN_ID": "theirs77",
}  # fmt: skip
OURS = {"group": "suite", "job_type": "adapt", "tags": ["vit", "WEMoE"], "id": "resumed1"}


def facts_of(run: WandbRun) -> tuple[object, ...]:
    """What W&B knows of a run: project, group, tags, type, name, notes, owner and id."""
    begun = run.experiment
    settings = begun.settings
    tags = tuple(begun.tags)
    about = (begun.project, begun.group, tags, settings.run_job_type)
    return (*about, settings.run_name, begun.notes, settings.entity, begun.id)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("from-outside", "their group", ("one", "two"), "their type", "their name",
              "their notes", "them", "theirs77")),
        ({"project": "mine", "group": "my group", "tags": ["three"], "job_type": "my type",
          "name": "my name", "notes": "my notes", "entity": "me", "id": "mine1234"},
         ("mine", "my group", ("three",), "my type", "my name", "my notes", "me", "mine1234")),
    ],
    ids=["environment", "config"],
)  # fmt: skip
def test_the_environment_comes_before_our_defaults_and_a_config_before_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], expected: object
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name, value in SAYS.items():
        monkeypatch.setenv(name, value)
    run = WandbRun(str(tmp_path / "run"), **config)
    run.identify(OURS)
    assert facts_of(run) == expected


def test_where_nothing_else_is_said_our_defaults_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = WandbRun(str(tmp_path))
    run.identify(OURS)
    project, group, tags, kind, *_, owner, number = facts_of(run)
    assert (project, group, tags, kind) == ("wemoe-pl", "suite", ("vit", "WEMoE"), "adapt")
    assert (owner, number) == (None, "resumed1")


def test_records_go_where_the_environment_or_a_config_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "outside"))
    log_once(tmp_path / "run")
    assert list(tmp_path.glob("outside/wandb/offline-run-*"))
    assert not (tmp_path / "run").exists()
    run = WandbRun(str(tmp_path / "run"), dir=str(tmp_path / "config"))
    assert run.experiment.offline
    assert list(tmp_path.glob("config/wandb/offline-run-*"))


def test_settings_are_ours_only_where_nobody_else_has_set_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "false")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "7")
    monkeypatch.setenv("WANDB_RESUME", "never")
    arguments = WandbRun(str(tmp_path), settings={"finish_timeout": 9})._wandb_init
    settings = arguments["settings"]
    assert settings.model_fields_set == {"finish_timeout"}
    assert settings.finish_timeout == 9
    assert "resume" not in arguments
    assert WandbRun(str(tmp_path), resume="must")._wandb_init["resume"] == "must"


@pytest.mark.parametrize("config", [{"mode": "disabled"}, {"mode": "offline"}, {"offline": True}])
def test_a_mode_of_the_config_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    config: dict[str, Any],
) -> None:  # fmt: skip
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.delenv("WANDB_MODE")  # which is then so after the test, though Lightning sets it
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        run = WandbRun(str(tmp_path), **config)
        run.log_metrics({"val/acc": 0.5}, 1)
    assert "no API key" not in caplog.text
    assert bool(list(tmp_path.glob("wandb/offline-run-*"))) == (config != {"mode": "disabled"})


@pytest.mark.parametrize("mode", ["offline", None])
def test_a_resumed_run_is_sent_with_all_of_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    mode: str | None,
) -> None:  # fmt: skip
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    (tmp_path / "my runs/wandb/offline-run-20260101_000000-abcd1234").mkdir(parents=True)
    (tmp_path / "my runs/wandb/offline-run-20260101_000000-another1").mkdir()
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        run = WandbRun(str(tmp_path / "my runs"))
        run.identify({"id": "abcd1234"})
        assert run.experiment.id == "abcd1234"
    [line] = [record.getMessage() for record in caplog.records if "W&B" in record.getMessage()]
    assert line.endswith(f" wandb sync '{tmp_path}/my runs/wandb'/offline-run-*-abcd1234")


def test_the_first_start_of_a_run_is_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "offline-run-20260101_000000-abcd1234"
    folder.mkdir()
    assert sync_path(folder) == str(folder)


def test_what_a_run_is_called_is_kept_and_the_rest_is_filled_in(tmp_path: Path) -> None:
    run = WandbRun(str(tmp_path), group="mine")
    run.identify({"group": "suite", "job_type": "adapt", "id": None})
    told = run.experiment
    assert (told.group, told.job_type, bool(told.id)) == ("mine", "adapt", True)


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"])
def test_a_key_in_the_environment_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_key()
    monkeypatch.setenv(name, KEY)
    assert has_key()


def test_a_key_that_was_stored_is_found_for_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(stored))
    stored.write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not has_key()
    stored.write_text("machine")
    assert not has_key()


def test_a_mode_may_be_set_in_two_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not mode_is_set()
    monkeypatch.setenv("WANDB_DISABLED", "true")
    assert mode_is_set()


def test_an_error_is_told_by_its_first_line() -> None:
    assert one_line(ValueError("It broke.\nBadly.")) == "It broke"
    assert one_line(KeyError()) == "KeyError"


class Forgetful(BaseHTTPRequestHandler):
    """A server that answers nothing of use."""

    def do_POST(self) -> None:
        self.send_response(500)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_server_that_only_fails_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Forgetful)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(wandb_run, "TIMEOUTS", {"init_timeout": 3.0, "finish_timeout": 3.0})
    log_once(tmp_path)
    server.shutdown()
    assert read_back(tmp_path).curve("val/acc") == [(3, 0.5)]

"""Weights & Biases neither asks for anything nor stops a run, whatever happens to it."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import wandb
from helpers.wandb_records import read_back

from wemoe_pl.reporting import loggers
from wemoe_pl.reporting.loggers import (
    MetricsFile,
    WandbRun,
    has_key,
    identity,
    mode_is_set,
    one_line,
)

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
    monkeypatch.setattr(loggers, "TIMEOUTS", {"init_timeout": 3.0, "finish_timeout": 3.0})
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


@pytest.mark.parametrize(
    ("model", "command", "job", "method"),
    [
        (
            {
                "class_path": "wemoe_pl.training.adapt.TestTimeAdaptation",
                "init_args": {"merge": "WEMoE"},
            },
            *("fit", "adapt", "WEMoE"),
        ),
        (
            {
                "class_path": "wemoe_pl.training.adapt.TestTimeAdaptation",
                "init_args": {"merge": "TIES"},
            },
            *("test", "test", "TIES"),
        ),
        ({"class_path": "ExpertFineTuning"}, "fit", "finetune", "ExpertFineTuning"),
    ],
)
def test_a_run_is_grouped_by_suite_and_told_by_job_and_method(
    model: dict[str, object], command: str, job: str, method: str
) -> None:
    options = model.get("init_args")
    if isinstance(options, dict):
        options["merge"] = {"class_path": f"wemoe_pl.merging.{options['merge']}"}
    settings = {"suite": {"name": "mine", "backbone": {"model": "vit"}}, "model": model}
    expected = {"group": "mine", "job_type": job, "tags": ["vit", method]}
    assert identity(settings, command) == expected


def test_metrics_go_to_a_file_of_logs(tmp_path: Path) -> None:
    for version, place in {"": "logs", "test": "logs/test"}.items():
        logger = MetricsFile(str(tmp_path), version)
        logger.log_metrics({"val/acc": 0.5}, 1)
        assert "val/acc" in (tmp_path / place / "metrics.csv").read_text()


def log_three(logger: MetricsFile) -> list[str]:
    """Log two steps, then a new metric; the lines of the file."""
    for step in (1, 3):
        logger.log_metrics({"loss": step / 2}, step)
    logger.log_metrics({"val/acc": 0.25}, 3)
    return logger.path.read_text().splitlines()


def test_a_metric_that_is_new_gets_a_column(tmp_path: Path) -> None:
    assert log_three(MetricsFile(str(tmp_path))) == [
        "loss,step,val/acc",
        "0.5,1,",
        "1.5,3,",
        ",3,0.25",
    ]


@pytest.mark.parametrize("tear", ["", "9.0,", "9.0,4,0.5"])
@pytest.mark.parametrize("first_step", [2, 4])
def test_what_was_logged_behind_the_checkpoint_is_dropped(
    tmp_path: Path, first_step: int, tear: str
) -> None:
    """And a last line that a killed process did not finish."""
    lines = log_three(MetricsFile(str(tmp_path)))
    again = MetricsFile(str(tmp_path))
    with again.path.open("a") as file:
        file.write(tear)
    again.first_step = first_step
    again.log_metrics({"loss": 1.5}, 3)
    again.log_metrics({"val/acc": 0.25}, 3)
    assert sorted(again.path.read_text().splitlines()) == sorted(lines)


def test_it_is_dropped_with_the_next_checkpoint_even_if_nothing_was_logged_since(
    tmp_path: Path,
) -> None:
    """Else who goes on from step 4 would keep what another life had logged at step 3."""
    lines = log_three(MetricsFile(str(tmp_path)))
    MetricsFile(str(tmp_path)).save()  # as of a command that logs nothing
    logger = MetricsFile(str(tmp_path))
    assert logger.path.read_text().splitlines() == lines
    logger.first_step = 3
    logger.save()
    assert logger.path.read_text().splitlines() == ["loss,step", "0.5,1"]
    logger.log_metrics({"loss": 2.5}, 4)
    assert logger.path.read_text().splitlines() == ["loss,step", "0.5,1", "2.5,4"]


def test_a_new_run_begins_a_new_file(tmp_path: Path) -> None:
    log_three(MetricsFile(str(tmp_path)))
    MetricsFile(str(tmp_path)).log_metrics({"loss": 1.0}, 1)
    assert (tmp_path / "logs" / "metrics.csv").read_text().splitlines() == ["loss,step", "1.0,1"]


def test_a_line_of_the_same_step_and_metrics_replaces_the_old_one(tmp_path: Path) -> None:
    logger = MetricsFile(str(tmp_path))
    log_three(logger)
    logger.log_metrics({"val/acc": 0.5}, 3)
    assert logger.path.read_text().splitlines()[1:] == ["0.5,1,", "1.5,3,", ",3,0.5"]


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


def test_a_server_that_only_fails_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Forgetful)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(loggers, "TIMEOUTS", {"init_timeout": 3.0, "finish_timeout": 3.0})
    log_once(tmp_path)
    server.shutdown()
    assert read_back(tmp_path).curve("val/acc") == [(3, 0.5)]

"""Metrics go to a file, each step once, and a run is grouped by what it is of."""

from pathlib import Path

import pytest

from wemoe_pl.reporting.loggers import MetricsFile, identity


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


def test_a_file_of_which_nothing_is_kept_can_be_gone_on_from(tmp_path: Path) -> None:
    MetricsFile(str(tmp_path)).log_metrics({"a": 0.5}, step=3)
    again = MetricsFile(str(tmp_path))
    again.first_step = 2
    again.save()
    once_more = MetricsFile(str(tmp_path))
    once_more.identify({}, first_step=2)
    once_more.log_metrics({"a": 0.7}, step=2)
    assert once_more.path.read_text().split() == ["a,step", "0.7,2"]


def test_a_new_run_begins_a_new_file(tmp_path: Path) -> None:
    log_three(MetricsFile(str(tmp_path)))
    MetricsFile(str(tmp_path)).log_metrics({"loss": 1.0}, 1)
    assert (tmp_path / "logs" / "metrics.csv").read_text().splitlines() == ["loss,step", "1.0,1"]


def test_a_line_of_the_same_step_and_metrics_replaces_the_old_one(tmp_path: Path) -> None:
    logger = MetricsFile(str(tmp_path))
    log_three(logger)
    logger.log_metrics({"val/acc": 0.5}, 3)
    assert logger.path.read_text().splitlines()[1:] == ["0.5,1,", "1.5,3,", ",3,0.5"]

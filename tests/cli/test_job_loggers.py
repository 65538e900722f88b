"""Loggers write where the run does, and go on where it does."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonargparse import Namespace

from wemoe_pl.cli.job_loggers import begin_logging, place_loggers
from wemoe_pl.reporting.loggers import MetricsFile


@pytest.mark.parametrize(
    ("command", "has_fit", "version"),
    [("fit", True, ""), ("test", True, "test"), ("test", False, "")],
)
def test_what_is_logged_beside_a_fit_has_a_folder_of_its_own(
    command: str, has_fit: bool, version: str, tmp_path: Path
) -> None:
    if has_fit:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints/last.ckpt").touch()
    ours = Namespace(class_path="wemoe_pl.MetricsFile", init_args=Namespace(save_dir="elsewhere"))
    other = Namespace(class_path="Other", init_args=Namespace())
    bare = Namespace(class_path="own_package.Logger")  # which takes no arguments
    loggers = [ours, other, bare]
    place_loggers(Namespace(out=str(tmp_path), trainer=Namespace(logger=loggers)), command)
    assert ours.init_args == Namespace(save_dir=str(tmp_path), version=version)
    assert other.init_args == Namespace()
    assert bare == Namespace(class_path="own_package.Logger")


def test_predict_has_no_logger(tmp_path: Path) -> None:
    ours = Namespace(class_path="wemoe_pl.WandbRun", init_args=Namespace(save_dir="elsewhere"))
    config = Namespace(out=str(tmp_path), trainer=Namespace(logger=[ours]))
    place_loggers(config, "predict")
    assert config.trainer.logger is False


@pytest.mark.parametrize(("goes_on", "first"), [(True, 7), (False, 0)])
def test_a_file_of_metrics_is_kept_only_of_the_same_run(
    goes_on: bool, first: int, tmp_path: Path
) -> None:
    logger = MetricsFile(str(tmp_path))
    start = SimpleNamespace(goes_on=goes_on)
    session: Any = SimpleNamespace(command="fit", start=start, step=7, resumed_checkpoint=None)
    suite = {"name": "tiny", "backbone": {"model": "vit_tiny_patch16_224"}}
    config = Namespace({"suite": suite, "model": {"class_path": "wemoe_pl.TestTimeAdaptation"}})
    begin_logging([logger], config, session)
    assert logger.first_step == first

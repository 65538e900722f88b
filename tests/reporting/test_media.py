"""Pictures go to the loggers that can show them."""

from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wemoe_pl.reporting.media import media_loggers, show
from wemoe_pl.reporting.wandb_run import WandbRun

PIXELS = np.zeros((4, 4, 3), dtype=np.uint8)


def test_only_loggers_that_can_show_pictures_and_still_work_are_asked_to(tmp_path: Path) -> None:
    files, run = CSVLogger(tmp_path), WandbRun(str(tmp_path))
    tensorboard = TensorBoardLogger(tmp_path)
    assert media_loggers([files, run, tensorboard]) == [run, tensorboard]
    run.failed = True
    assert media_loggers([files, run, tensorboard]) == [tensorboard]
    show(files, "samples", [PIXELS], 1, None)


def test_tensorboard_has_captions_in_the_tags(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    show(logger, "samples/cars", [PIXELS, PIXELS], 3, ["coupe", "van"])
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0}).Reload()
    assert set(events.Tags()["images"]) == {"samples/cars/coupe", "samples/cars/van"}

"""Show pictures in every logger that can; a new kind of logger registers with `show`."""

from collections.abc import Iterable, Sequence
from functools import singledispatch
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from PIL import Image

from wemoe_pl.data.preprocessing import Pixels
from wemoe_pl.reporting.wandb_run import WandbRun

ShownImages = Sequence[Path | Pixels]
Captions = Sequence[str] | None


@singledispatch
def show(logger: Logger, key: str, images: ShownImages, step: int, captions: Captions) -> None:
    """Show pictures in a logger; by default a logger leaves them out.

    Args:
        logger: the logger that is written to.
        key: the name of the panel.
        images: files, or pixels (H, W, 3).
        step: the optimiser step.
        captions: one caption per image; None for no captions.
    """


@show.register
def show_in_wandb(
    logger: WandbRun, key: str, images: ShownImages, step: int, captions: Captions
) -> None:
    """Show pictures side by side in a panel of Weights & Biases."""
    captioned = {} if captions is None else {"caption": captions}
    paths = [str(image) if isinstance(image, Path) else image for image in images]
    logger.log_image(key, paths, step=step, **captioned)


@show.register
def show_in_tensorboard(
    logger: TensorBoardLogger, key: str, images: ShownImages, step: int, captions: Captions
) -> None:
    """Show every picture under a tag of its own, since TensorBoard has no captions but tags."""
    for place, image in enumerate(images):
        tag = key if captions is None else f"{key}/{captions[place]}"
        logger.experiment.add_image(tag, pixels_of(image), step, dataformats="HWC")


def media_loggers(loggers: Iterable[Logger]) -> list[Logger]:
    """List the loggers that can show pictures and have not failed."""
    nowhere = show.dispatch(object)
    return [
        logger
        for logger in loggers
        if show.dispatch(type(logger)) is not nowhere and not getattr(logger, "failed", False)
    ]


def pixels_of(image: Path | Pixels) -> Pixels:
    """Return the pixels of a picture, (H, W, 3), which are read if it is a file."""
    if not isinstance(image, Path):
        return image
    with Image.open(image) as opened:
        return np.asarray(opened.convert("RGB"))

"""Look at figures: at the pixels of their files, and at the lines and texts that make them up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

LAYERS = [f"blocks.{i}.{part}" for i in range(24) for part in ("norm1", "attn", "norm2", "mlp")]


def drawn(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), dtype=float)


def legend_of(figure: Figure) -> list[str]:
    [legend] = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def lines_of(axis: Axes) -> dict[str, list[tuple[float, float]]]:
    return {
        str(line.get_label()): [(x, y) for x, y in np.asarray(line.get_xydata()).tolist()]
        for line in axis.lines
    }


def tick_labels(axis: Axes) -> tuple[list[str], list[str]]:
    labels = axis.get_xticklabels(), axis.get_yticklabels()
    across, down = ([label.get_text() for label in each if label.get_text()] for each in labels)
    return across, down


def texts_of(figure: Figure) -> dict[Text, Bbox]:
    """All text that is drawn, with its place in pixels."""
    texts: list[Text] = []

    def note(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            texts.append(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", note)
        figure.draw_without_rendering()
    return {text: text.get_window_extent() for text in texts}


def square(size: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(-0.99, 0.99, (size, size))

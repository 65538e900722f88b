"""Render twenty tiny tasks with the names and roles of papers' tasks, for demos, tests and CI.

Every image is drawn from a seed: vector shapes on a 4x canvas, box-filtered down to 28 pixels, with
a little sensor noise. Colours, places, sizes and angles vary inside a class, so that a model has
to look at the shape. Nothing is read from disk, not even a font.
"""

from wemoe_pl.data.miniature.canvas import SIZE
from wemoe_pl.data.miniature.fresh import FreshRender
from wemoe_pl.data.miniature.rendering import CLASSES, contact_sheet, render, render_split
from wemoe_pl.data.miniature.task import MiniatureTask, RenderedImages

__all__ = [
    "CLASSES", "SIZE", "FreshRender", "MiniatureTask", "RenderedImages", "contact_sheet", "render",
    "render_split",
]  # fmt: skip

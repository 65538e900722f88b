"""What a vision task is, and where its images live: folders, parquet files, the paper's eight."""

from wemoe_pl.tasks.base import DEFAULT_TEMPLATES, UNLABELLED, Corrupt, Images, Split, VisionTask
from wemoe_pl.tasks.folders import ImageFiles, ImageFolderTask, list_images
from wemoe_pl.tasks.paper import PAPER_TASKS, PaperTask
from wemoe_pl.tasks.parquet import ParquetTask
from wemoe_pl.tasks.readable import keep_readable, read_image

__all__ = [
    "DEFAULT_TEMPLATES",
    "PAPER_TASKS",
    "UNLABELLED",
    "Corrupt",
    "ImageFiles",
    "ImageFolderTask",
    "Images",
    "PaperTask",
    "ParquetTask",
    "Split",
    "VisionTask",
    "keep_readable",
    "list_images",
    "read_image",
]

"""What a vision task is, and where its images live: folders, parquet files, the paper's eight."""

from wemoe_pl.tasks.base import (
    DEFAULT_TEMPLATES,
    UNLABELLED,
    Corrupt,
    Images,
    Split,
    VisionTask,
    hashed,
)
from wemoe_pl.tasks.decoding import as_models_see, read_image
from wemoe_pl.tasks.file_names import name_some, path_of, printable
from wemoe_pl.tasks.folders import ImageFolderTask
from wemoe_pl.tasks.found import find_images
from wemoe_pl.tasks.image_files import ImageFiles
from wemoe_pl.tasks.listing import list_images
from wemoe_pl.tasks.paper import PAPER_TASKS, PaperTask
from wemoe_pl.tasks.parquet import ParquetTask
from wemoe_pl.tasks.readable import is_fault_of_disk, keep_readable

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
    "as_models_see",
    "find_images",
    "hashed",
    "is_fault_of_disk",
    "keep_readable",
    "list_images",
    "name_some",
    "path_of",
    "printable",
    "read_image",
]

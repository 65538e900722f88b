"""Define vision tasks, and read their images from folders, parquet files, memory or the hub."""

from wemoe_pl.data.tasks.base import UNLABELLED, Images, Split, VisionTask, hashed
from wemoe_pl.data.tasks.damaged import is_fault_of_disk, keep_readable
from wemoe_pl.data.tasks.decoding import as_models_see, read_image
from wemoe_pl.data.tasks.file_names import name_some, path_of, printable
from wemoe_pl.data.tasks.folders import ImageFolderTask
from wemoe_pl.data.tasks.image_files import ImageFiles
from wemoe_pl.data.tasks.in_memory import InMemoryTask
from wemoe_pl.data.tasks.listing import list_images
from wemoe_pl.data.tasks.paper import PAPER_TASKS, TALL14_TASKS, TALL20_TASKS, PaperTask
from wemoe_pl.data.tasks.parquet import ParquetTask
from wemoe_pl.data.tasks.unlabelled import find_images

__all__ = [
    "PAPER_TASKS", "TALL14_TASKS", "TALL20_TASKS", "UNLABELLED", "ImageFiles", "ImageFolderTask",
    "Images", "InMemoryTask", "PaperTask", "ParquetTask", "Split", "VisionTask", "as_models_see",
    "find_images", "hashed", "is_fault_of_disk", "keep_readable", "list_images", "name_some",
    "path_of", "printable", "read_image",
]  # fmt: skip

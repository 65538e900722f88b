"""What a vision task is, and where its images live: folders, parquet files, the paper's eight."""

from wemoe_pl.data.tasks.base import DEFAULT_TEMPLATES as DEFAULT_TEMPLATES
from wemoe_pl.data.tasks.base import UNLABELLED as UNLABELLED
from wemoe_pl.data.tasks.base import Corrupt as Corrupt
from wemoe_pl.data.tasks.base import Images as Images
from wemoe_pl.data.tasks.base import Split as Split
from wemoe_pl.data.tasks.base import VisionTask as VisionTask
from wemoe_pl.data.tasks.base import hashed as hashed
from wemoe_pl.data.tasks.damaged import is_fault_of_disk as is_fault_of_disk
from wemoe_pl.data.tasks.damaged import keep_readable as keep_readable
from wemoe_pl.data.tasks.decoding import as_models_see as as_models_see
from wemoe_pl.data.tasks.decoding import read_image as read_image
from wemoe_pl.data.tasks.file_names import name_some as name_some
from wemoe_pl.data.tasks.file_names import path_of as path_of
from wemoe_pl.data.tasks.file_names import printable as printable
from wemoe_pl.data.tasks.folders import ImageFolderTask as ImageFolderTask
from wemoe_pl.data.tasks.image_files import ImageFiles as ImageFiles
from wemoe_pl.data.tasks.listing import list_images as list_images
from wemoe_pl.data.tasks.paper import PAPER_TASKS as PAPER_TASKS
from wemoe_pl.data.tasks.paper import PaperTask as PaperTask
from wemoe_pl.data.tasks.parquet import ParquetTask as ParquetTask
from wemoe_pl.data.tasks.unlabelled import find_images as find_images

"""Find images that have no labels and are to be classified, in folders or parquet files."""

from collections.abc import Sequence
from glob import has_magic
from pathlib import Path

from wemoe_pl.data.tasks.base import UNLABELLED, Images, hashed
from wemoe_pl.data.tasks.columns import check_images, image_column
from wemoe_pl.data.tasks.file_names import path_of, printable
from wemoe_pl.data.tasks.image_files import IMAGE_SUFFIXES, ImageFiles, names_and_sizes
from wemoe_pl.data.tasks.listing import chosen, files_of
from wemoe_pl.data.tasks.parquet import ParquetImages
from wemoe_pl.data.tasks.tables import TABLE, read_table, table_facts
from wemoe_pl.errors import DataError
from wemoe_pl.system.near_paths import did_you_mean_path

SUFFIXES = IMAGE_SUFFIXES | {TABLE}


def find_images(*sources: str) -> Images:
    """Return the images that some paths or patterns of paths stand for, in order, without labels.

    Args:
        sources: the paths of images, of parquet files, or of folders with some below them, or
            patterns of these, such as `photos/**/*.jpg`. A name that is not UTF-8 may be given as
            `printable` shows it.

    Raises:
        DataError: there is no image, or there are both images and parquet files.
    """
    paths = [path for source in sources for path in find_files(source)]
    tables = [path for path in paths if path.suffix.lower() == TABLE]
    if not tables:
        return ImageFiles(paths, [UNLABELLED] * len(paths))
    named = ", ".join(sources)
    if len(tables) < len(paths):
        raise DataError(f"{named} has images and parquet files: classify one kind at a time.")
    return table_images(tables, named)


def find_files(source: str) -> list[Path]:
    """Return the images and parquet files of a path or a pattern, sorted."""
    path = path_meant(source)
    if path.is_file():
        return [path]
    there = list(files_of(path))
    if not there and not path.is_dir():
        raise nothing_there(source)
    files = chosen(there, SUFFIXES)
    if not files:
        raise DataError(
            f"{printable(source)} has no images: check its path. Images end in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}, tables of them in {TABLE}."
        )
    return files


def path_meant(source: str) -> Path:
    """Return the path that is meant by a text from a config or a command line.

    These are UTF-8, and file names may not be: such a name is given as `printable` shows it.
    """
    path = Path(source).expanduser()
    return path if path.exists() else path_of(str(path))


def nothing_there(source: str) -> DataError:
    """Return the error for a source that no file or folder matches."""
    return DataError(
        f"No file matches '{printable(source)}': check the pattern."
        if has_magic(source)
        else f"There is no folder or file {printable(source)}: check its path."
        f"{printable(did_you_mean_path(path_meant(source)))}"
    )


def table_images(files: Sequence[Path], source: str) -> Images:
    """Return the images in the rows of parquet files, without labels."""
    table = read_table(files, source)
    column = image_column(table.data.schema, source)
    check_images(table, column, source)
    identity = hashed("parquet", names_and_sizes(files), column)
    facts = table_facts(files, column)
    return ParquetImages(table, column, [UNLABELLED] * len(table), source, facts, identity)

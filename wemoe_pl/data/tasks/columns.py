"""Read columns of images in tables: encoded bytes in several forms, or pixels."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from wemoe_pl.data.tasks.decoding import as_models_see, read_image
from wemoe_pl.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset  # which takes seconds to import, and only tables need it

TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
BINARY = (
    pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,  # as Polars writes it
)  # fmt: skip
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
PIXELS = (pa.types.is_uint8, pa.types.is_uint16)  # other types do not tell which value is white


def image_column(schema: pa.Schema, where: str) -> str:
    """Return the only column of a table that may hold images; `DataError` for none or several."""
    found = [field.name for field in schema if holds_images(stored(field.type))]
    if len(found) == 1:
        return found[0]
    columns = ", ".join(found or schema.names)
    raise DataError(
        f"{where} has {len(found)} columns of images ({columns}): keep only one of them."
        if found
        else f"{where} has no column of images (the bytes of files, or pixels), only {columns}."
    )


def check_images(table: "Dataset", column: str, where: str) -> None:
    """Raise `DataError` unless a column can hold images; the error says what it has instead."""
    reason = why_no_images(stored(table.data.column(column).type))
    if reason is None and has_only_paths(table.data.column(column)):
        reason = "has only the paths of images: store the bytes of the files"
    if reason is not None:
        raise DataError(f"The column '{column}' of {where} {reason}.")


def read_cell(cell: pa.Scalar, name: str) -> Image.Image:
    """Return the image in a cell, as models see it.

    Args:
        cell: the cell, of a column that passes `check_images`.
        name: the name of the image in errors.

    Raises:
        DataError: the cell has no image, or the image cannot be decoded.
    """
    content, path = content_and_path(cell)
    if content is None:
        only = f"only the path of an image, {path}" if path else "no image"
        raise DataError(f"{name} has {only}.")
    if not is_a(content.type, LISTS):
        return read_image(content.as_py(), name)
    values = values_in(content, name)
    if values.ndim == 1:
        return read_image(as_bytes(values, name), name)
    return as_models_see(as_picture(values, name), name)


def content_and_path(cell: pa.Scalar) -> tuple[pa.Scalar | None, str | None]:
    """Return the content and the path of the image in a cell; None for either that is missing."""
    if isinstance(cell, pa.ExtensionScalar):
        cell = cell.value
    if cell is None or not cell.is_valid:
        return None, None
    path = None
    if pa.types.is_struct(cell.type):
        if cell.type.get_field_index("path") >= 0:
            path = cell["path"].as_py()
        cell = cell["bytes"]
    return (cell if cell.is_valid else None), path


def values_in(cell: pa.Scalar, name: str) -> NDArray[Any]:
    """Return the numbers in a list as an array; nested lists must have one length."""
    leaf, _ = innermost(cell.type)
    try:
        return np.array(cell.as_py(), dtype=leaf.to_pandas_dtype())
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} is not a readable image: its rows differ in length, or lack numbers"
        ) from error


def as_bytes(values: NDArray[Any], name: str) -> bytes:
    """Return numbers, which are signed or unsigned bytes, as a `bytes` object."""
    if values.size and not (values.min() >= -128 and values.max() <= 255):
        raise DataError(f"{name} is not a readable image: its numbers are not bytes")
    return values.astype(np.uint8).tobytes()


def as_picture(values: NDArray[Any], name: str) -> Image.Image:
    """Return pixels (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) as an image of Pillow's."""
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    is_colour = values.ndim == 3 and values.shape[2] in (3, 4) and values.dtype == np.uint8
    if values.ndim != 2 and not is_colour:
        raise DataError(
            f"{name} has {values.dtype} pixels of shape {values.shape}: expected (H, W), or "
            "(H, W, 3) of uint8."
        )
    return Image.fromarray(values)


def holds_images(kind: pa.DataType) -> bool:
    """Return whether a column is likely to hold images, judged by its type alone."""
    leaf, depth = innermost(kind)
    return why_no_images(kind) is None and (depth == 0 or is_a(leaf, PIXELS))


def why_no_images(kind: pa.DataType) -> str | None:
    """Say why a column of a type cannot hold images, and what to do; None if it can."""
    content = content_type(kind)
    leaf, depth = innermost(content)
    if content is not kind and pa.types.is_null(content):  # no row has an image
        return None
    if is_a(leaf, TEXT) and depth == 0:
        return "has text, such as paths or base64, and no images: store the bytes of the files"
    if depth and (is_a(leaf, (*BINARY, *TEXT)) or pa.types.is_struct(leaf)):
        return "has lists of images: give every row one image"
    if (depth == 0 and is_a(leaf, BINARY)) or (depth == 1 and pa.types.is_integer(leaf)):
        return None
    if depth in (2, 3) and is_a(leaf, PIXELS):
        return None
    if depth:
        return (
            f"has lists of {leaf}, and nothing states the range of such pixels: store them as "
            "uint8, or as the bytes of files"
        )
    return "has no images: name the column that has images as `image`"


def content_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the `bytes` in a struct, or of its `path` if there are no `bytes`."""
    if pa.types.is_struct(kind):
        for name in ("bytes", "path"):
            if kind.get_field_index(name) >= 0:
                return stored(kind.field(name).type)
    return kind


def has_only_paths(column: pa.ChunkedArray) -> bool:
    """Return whether a column has paths of images, but no content in any row."""
    if not pa.types.is_struct(column.type) or column.type.get_field_index("path") < 0:
        return False
    contents, paths = pc.struct_field(column, "bytes"), pc.struct_field(column, "path")
    return contents.null_count == len(column) > paths.null_count


def stored(kind: pa.DataType) -> pa.DataType:
    """Return the type as it is stored, without the name that `datasets` gives it."""
    return kind.storage_type if isinstance(kind, pa.ExtensionType) else kind


def innermost(kind: pa.DataType) -> tuple[pa.DataType, int]:
    """Return the type inside lists of lists, and their depth; the depth is 0 if it is no list."""
    depth = 0
    while is_a(kind, LISTS):
        kind, depth = stored(kind.value_type), depth + 1
    return kind, depth


def is_a(kind: pa.DataType, tests: Any) -> bool:
    """Return whether a type passes one of some tests."""
    return any(test(kind) for test in tests)

"""Images of noise as files, in tar shards and in parquet files."""

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Change = Callable[[tarfile.TarInfo], None]


def noise(seed: int) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(256, size=(30, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def write_images(folder: Path, count: int, first: int = 0) -> list[Path]:
    """So many files, `000.png` …; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{place:03}.png" for place in range(count)]
    for place, path in enumerate(paths):
        path.write_bytes(noise(first + place))
    return paths


def write_tar(
    path: Path, contents: Mapping[str, bytes], change: Change = lambda info: None
) -> Path:
    """A tar of these files, whose headers are changed before they are written."""
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            change(info)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_table(path: Path, images: list[bytes], rows_of_a_group: int) -> Path:
    """A parquet file with a column of images, as `datasets` writes it, and one of labels."""
    cells = [{"bytes": content, "path": f"{place}.png"} for place, content in enumerate(images)]
    table = pa.table({"image": cells, "label": list(range(len(images)))})
    pq.write_table(table, path, row_group_size=rows_of_a_group)
    return path

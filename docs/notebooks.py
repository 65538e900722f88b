"""Execute the notebooks of `examples/`, for the site and for their test alike.

A notebook is kept with its outputs in `build/notebooks/`. It is executed again if its text, the
package, or anything else that is installed has changed.
"""

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from wemoe_pl.system.files import atomic_write

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "build" / "notebooks"
LONGEST_CELL = 600  # seconds


def executed(text: str, code: str) -> NotebookNode:
    """Return a notebook with its outputs.

    Args:
        text: the text of its file.
        code: the fingerprint of all code that it may call.

    Raises:
        CellExecutionError: a cell raises an error.
    """
    kept = KEPT / f"{digest([code.encode(), text.encode()])}.ipynb"
    if not kept.exists():
        book = nbformat.reads(text, as_version=4)
        execute(book)
        with atomic_write(kept) as temporary:
            nbformat.write(book, temporary)
    return nbformat.read(kept, as_version=4)


def execute(book: NotebookNode) -> None:
    """Fill in the outputs of a notebook, in a kernel that knows the package of this checkout."""
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            book,
            timeout=LONGEST_CELL,
            record_timing=False,
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR"],  # else it warns that nothing is encrypted
        )
        client.log.setLevel("WARNING")
        environment = {
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "WEMOE_PL_CACHE": f"{folder}/cache",
            "OMP_NUM_THREADS": "1",  # the last digits are then the same on any number of cores
        }
        client.execute(env={**os.environ, **environment})


def code_fingerprint() -> str:
    """Return the fingerprint of the package, of this file, and of all that is installed."""
    installed = sorted(f"{found.name} {found.version}" for found in metadata.distributions())
    return digest([sys.version.encode(), "\n".join(installed).encode(), *code_files()])


def code_files() -> Iterator[bytes]:
    """Yield the names and contents of all files on which the outputs of a notebook depend."""
    folders = (ROOT / "wemoe_pl", ROOT / "configs")
    found = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    for path in (Path(__file__), *found):
        if "__pycache__" not in path.parts:
            yield path.relative_to(ROOT).as_posix().encode()
            yield path.read_bytes()


def digest(parts: Iterable[bytes]) -> str:
    """Return one hash of several parts, which tells where a part ends."""
    hashes = b"".join(hashlib.sha256(part).digest() for part in parts)
    return hashlib.sha256(hashes).hexdigest()[:16]

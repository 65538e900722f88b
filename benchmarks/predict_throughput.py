"""Measure how many images `wemoe-pl predict RUN IMAGES --out FOLDER` answers in a second, and why.

    python benchmarks/predict_throughput.py RUN [--images 100000] [--jpegs 2000] [--workers 1]

The script makes tiny images (PNG of 28×28 pixels) as files, in tars and in a parquet file, and
photographs (JPEG of 500×375), in a temporary folder. Each set is answered by a process of its own.
The table has its images per second, the same as a multiple of the first row, the share of each
stage, the seconds of listing, and the peak memory of the process. A tenth of the tiny files comes
first, since memory should not grow with the number of images.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

OF_A_FOLDER = 1000
OF_A_TAR = 10_000


def tiny_images(count: int) -> Iterator[bytes]:
    """Yield so many PNGs of noise."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        buffer = io.BytesIO()
        pixels = generator.integers(256, size=(28, 28), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "png")
        yield buffer.getvalue()


def write_sets(folder: Path, images: int, jpegs: int) -> dict[str, str]:
    """Write all sets of images, and return their sources by name."""
    contents = []
    for place, content in enumerate(tiny_images(images)):
        below = "few" if place < images // 10 else "many"
        path = folder / "tiny" / below / str(place // OF_A_FOLDER) / f"{place:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        contents.append(content)
    for first in range(0, images, OF_A_TAR):
        with tarfile.open(folder / f"tiny-{first // OF_A_TAR:03}.tar", "w") as tar:
            for place, content in enumerate(contents[first : first + OF_A_TAR], first):
                info = tarfile.TarInfo(f"{place:06}.png")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    pq.write_table(pa.table({"image": contents}), folder / "tiny.parquet", row_group_size=OF_A_TAR)
    sets = {
        f"{images // 10:,} tiny files": str(folder / "tiny" / "few"),
        f"{images:,} tiny files": str(folder / "tiny"),
        f"{images:,} tiny in tars": str(folder / "tiny-*.tar"),
        f"{images:,} tiny in parquet": str(folder / "tiny.parquet"),
    }
    generator = np.random.default_rng(1)
    (folder / "photos").mkdir()
    for place in range(jpegs):
        coarse = generator.integers(256, size=(15, 20, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
        photo.save(folder / "photos" / f"{place:05}.jpg", quality=90)
    if jpegs:
        sets[f"{jpegs:,} JPEGs of 500×375"] = str(folder / "photos")
    return sets


def answer(run: str, source: str, out: Path, workers: int) -> tuple[dict, float, int]:
    """Answer one set, and return its manifest, the seconds and the peak memory in bytes."""
    command = [sys.executable, "-m", "wemoe_pl", "predict", run, source, "--out", str(out)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--workers", str(workers)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(said)
    record = json.loads((out / "_manifest.json").read_text())
    return record, time.perf_counter() - began, used.ru_maxrss * 1024


def main() -> None:
    """Measure all sets, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", help="A run, or an export of one.")
    parser.add_argument("--images", type=int, default=100_000, help="The number of tiny images.")
    parser.add_argument("--jpegs", type=int, default=2000, help="The number of photographs.")
    parser.add_argument("--workers", type=int, default=1, help="Processes that load images.")
    options = parser.parse_args()
    print("| images | images/s | ratio | waiting | model | writing | listing | in all | memory |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        folder, base = Path(name), None
        sets = write_sets(folder, options.images, options.jpegs)
        for number, (called, source) in enumerate(sets.items()):
            out = folder / f"out{number}"
            record, seconds, memory = answer(options.run, source, out, options.workers)
            rate, shares = record["images_per_second"], record["shares"]
            base = base or rate
            of = (shares[stage] for stage in ("waiting_for_images", "model", "writing"))
            cells = [
                called, f"{rate:,.0f}", f"{rate / base:.2f}", *(f"{share:.0%}" for share in of),
                f"{record['seconds']['listing']:.1f} s", f"{seconds:.0f} s",
                f"{memory / 1e6:,.0f} MB",
            ]  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""Datasets for `LoopbackHub`: tiny, and laid out as the real ones of the hub are."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from helpers.loopback_hub import branch
from PIL import Image


@dataclass(frozen=True)
class HubDataset:
    """Where the images of a task lie on the hub, and in which columns of which files.

    Attributes:
        repository: its id.
        config: its configuration, which is the folder of its files; "default" has them in data/.
        encoding: of the images.
        scored: the split that is scored, as the hub calls it.
        columns: of images and of labels.
        labels: "names" if the table names the classes, "numbers" or "booleans" if it does not.
        converted: does only the branch have parquet files that the hub makes of other formats?
    """

    repository: str
    config: str = "default"
    encoding: str = "JPEG"
    scored: str = "test"
    columns: tuple[str, str] = ("image", "label")
    labels: str = "names"
    converted: bool = False

    @property
    def revision(self) -> str:
        return CONVERTED if self.converted else "main"

    def file(self, split: str) -> str:
        """The only file of a split."""
        if self.converted:
            return f"{self.config}/{split}/0000.parquet"
        folder = "data" if self.config == "default" else self.config
        return f"{folder}/{split}-00000-of-00001.parquet"


CONVERTED = "refs/convert/parquet"
DATASETS = {
    "sun397": HubDataset("tanganke/sun397"),
    "cars": HubDataset("tanganke/stanford_cars"),
    "resisc45": HubDataset("tanganke/resisc45"),
    "eurosat": HubDataset("tanganke/eurosat"),
    "svhn": HubDataset("ufldl-stanford/svhn", "cropped_digits", "PNG"),
    "gtsrb": HubDataset("tanganke/gtsrb", encoding="PNG"),
    "mnist": HubDataset("ylecun/mnist", "mnist", "PNG"),
    "dtd": HubDataset("tanganke/dtd"),
    "flowers102": HubDataset("dpdl-benchmark/oxford_flowers102"),
    "pcam": HubDataset("1aurent/PatchCamelyon", encoding="PNG", labels="booleans"),
    "fer2013": HubDataset(
        "clip-benchmark/wds_fer2013", columns=("jpg", "cls"), labels="numbers", converted=True
    ),
    "pets": HubDataset("timm/oxford-iiit-pet"),
    "stl10": HubDataset("tanganke/stl10", encoding="PNG"),
    "cifar100": HubDataset("tanganke/cifar100", encoding="PNG"),
    "cifar10": HubDataset("tanganke/cifar10", encoding="PNG"),
    "food101": HubDataset("ethz/food101", scored="validation"),
    "fashion_mnist": HubDataset("zalando-datasets/fashion_mnist", "fashion_mnist", "PNG"),
    "emnist_letters": HubDataset("tanganke/emnist_letters", "emnist-letters", "PNG"),
    "kmnist": HubDataset("tanganke/kmnist", "kmnist", "PNG"),
    "rendered_sst2": HubDataset("nateraw/rendered-sst2", encoding="PNG", converted=True),
}
GREY = ("mnist", "fashion_mnist", "emnist_letters", "kmnist")

# The four that are published with corrupted test images too, in splits of their own.
CORRUPTED = ("cars", "resisc45", "eurosat", "gtsrb")
CORRUPTIONS = ("contrast", "gaussian_noise", "impulse_noise", "jpeg_compression",
               "motion_blur", "pixelate", "spatter")  # fmt: skip


def write_dataset(
    folder: Path,
    pattern_prefix: str,
    split: str,
    images: list[Image.Image],
    labels: list[int],
    class_names: list[str] | None,
    shards: int = 1,
    encoding: str = "PNG",
) -> None:
    """Writes `<prefix>/<split>-00000-of-00001.parquet` as `Dataset.push_to_hub` does."""
    (folder / pattern_prefix).mkdir(parents=True, exist_ok=True)
    table = as_table(images, labels, class_names, encoding)
    ends = [len(images) * shard // shards for shard in range(shards + 1)]
    for shard, (start, end) in enumerate(pairwise(ends)):
        name = f"{split}-{shard:05d}-of-{shards:05d}.parquet"
        pq.write_table(table.slice(start, end - start), folder / pattern_prefix / name)


def encode(image: Image.Image, encoding: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=encoding)
    return buffer.getvalue()


def as_table(
    images: Sequence[Image.Image],
    labels: Sequence[int],
    class_names: list[str] | None,
    encoding: str,
    columns: tuple[str, str] = ("image", "label"),
) -> pa.Table:
    encoded = [{"bytes": encode(image, encoding), "path": None} for image in images]
    content = dict(zip(columns, (encoded, labels), strict=True))
    return pa.table(content, schema=schema(class_names, columns))


def schema(
    class_names: list[str] | None, columns: tuple[str, str] = ("image", "label")
) -> pa.Schema:
    """The columns, with the note from which `datasets` reads what they mean."""
    plain = {"dtype": "int64", "_type": "Value"}
    label = plain if class_names is None else {"names": class_names, "_type": "ClassLabel"}
    note = {"info": {"features": {columns[0]: {"_type": "Image"}, columns[1]: label}}}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    described = pa.schema([(columns[0], image), (columns[1], pa.int64())])
    return described.with_metadata({"huggingface": json.dumps(note)})


def write_datasets(root: Path, classes: Mapping[str, Sequence[str]], per_split: int = 12) -> None:
    """Writes the datasets of the tasks whose classes are given."""
    for seed, (task, names) in enumerate(classes.items()):
        splits = ["train", DATASETS[task].scored, *(CORRUPTIONS if task in CORRUPTED else ())]
        labels = [i * 11 % len(names) for i in range(per_split)]
        rng = np.random.default_rng(seed)
        for split in splits:
            images = [noise(rng, grey=task in GREY) for _ in labels]
            write_split(root, DATASETS[task], split, images, labels, list(names))
        if not DATASETS[task].converted:
            card = dataset_card(DATASETS[task], splits)
            (root / "datasets" / DATASETS[task].repository / "README.md").write_text(card)


def write_split(
    root: Path,
    dataset: HubDataset,
    split: str,
    images: Sequence[Image.Image],
    labels: Sequence[int],
    names: list[str],
) -> None:
    """Writes the file of a split, and of a converted dataset the archive that it was made of."""
    folder = root / "datasets" / dataset.repository
    path = folder / dataset.file(split)
    if dataset.converted:
        write_archive(folder / split / "0.tar", images)
        path = branch(folder, CONVERTED) / dataset.file(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    named = names if dataset.labels == "names" else None
    table = as_table(images, labels, named, dataset.encoding, dataset.columns)
    if dataset.labels == "booleans":
        truth = pa.array([bool(label) for label in labels])
        table = pa.table({dataset.columns[0]: table.column(0), dataset.columns[1]: truth})
    pq.write_table(table, path)


def write_archive(path: Path, images: Sequence[Image.Image]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for i, image in enumerate(images):
            content = encode(image, "JPEG")
            member = tarfile.TarInfo(f"s{i:07d}.jpg")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def noise(rng: np.random.Generator, grey: bool) -> Image.Image:
    shape = (28, 28) if grey else (32, 40, 3)
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))


def dataset_card(dataset: HubDataset, splits: Sequence[str]) -> str:
    """Says which files belong to which configuration and split."""
    patterns = [dataset.file(split).replace("00000-of-00001.parquet", "*") for split in splits]
    files = [
        f"  - split: {split}\n    path: {pattern}"
        for split, pattern in zip(splits, patterns, strict=True)
    ]
    return "\n".join(
        ["---", "configs:", f"- config_name: {dataset.config}", "  data_files:", *files, "---", ""]
    )

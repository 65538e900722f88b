"""Processes of torchrun, srun or several shells share the work of answering, without talking."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from helpers.launched import run, srun, torchrun
from helpers.processes import Environment
from helpers.shards import write_images

from wemoe_pl.data.shards import plan
from wemoe_pl.export.loading import load
from wemoe_pl.export.many_images.answers_record import read_record

COUNT = 40


def small_units() -> None:
    """Ten units."""
    plan.UNIT_IMAGES = 4


def by_hand(processes: int) -> list[Environment]:
    """What shells tell each process: nothing."""
    return [{}] * processes


def by_srun(processes: int) -> list[Environment]:
    return srun(processes, "4242")


def by_array(processes: int) -> list[Environment]:
    """What SLURM tells each job of an array of jobs with one task."""
    common = {"SLURM_NTASKS": "1", "SLURM_LOCALID": "0", "SLURM_ARRAY_JOB_ID": "4242"}
    return [common | {"SLURM_ARRAY_TASK_ID": str(task)} for task in range(processes)]


@pytest.mark.parametrize("launch", [torchrun, by_srun, by_array, by_hand])
def test_every_image_is_answered_once_and_as_by_one_process(
    launch: Callable[[int], list[Environment]],
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    paths, out = write_images(tmp_path / "photos", COUNT), tmp_path / "out"
    one: list[str | Path] = ["--workers", "1", "--batch-size", "1"]
    command = ["predict", checkpoint, tmp_path / "photos", *one]
    said = run(launch(2), [*command, "--out", out], tmp_path / "said", small_units)
    last = f"{COUNT} of {COUNT} images are answered in {out} (parts: 10)"
    assert all(last in text for text in said)  # whoever ends first has waited for the other
    found = ds.dataset(out).to_table().to_pylist()
    expected = load(checkpoint).predict(paths, batch_size=1)
    assert [(row["image"], row["class"]) for row in found] == [
        (answer.image, answer.class_name) for answer in expected
    ]
    assert read_record(out / "_manifest.json").answered == COUNT

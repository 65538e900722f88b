"""`predict RUN IMAGES --out FOLDER` keeps answers, and says how many and what takes the time."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from helpers.launched import torchrun
from helpers.shards import write_images

from wemoe_pl.cli import kept_answers, main
from wemoe_pl.cli.kept_answers import chosen_device, loading_workers
from wemoe_pl.errors import ConfigError
from wemoe_pl.system import cores

pytestmark = pytest.mark.filterwarnings("ignore:The model cannot say that an image belongs to none")
Said = tuple[int, str, str]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_images(tmp_path / "photos", 5)
    return tmp_path / "photos"


@pytest.fixture
def keep(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path
) -> Callable[..., Said]:
    """`keep(photos, …)`: status, output and errors, of answers in the folder `out`."""

    def run(*arguments: str | Path) -> Said:
        capsys.readouterr()
        given = ["predict", str(checkpoint), *map(str, arguments), "--out", str(tmp_path / "out")]
        status = main.main(given)
        return status, *capsys.readouterr()

    return run


def test_it_says_how_many_images_are_answered_and_what_takes_the_time(
    keep: Callable[..., Said], photos: Path, tmp_path: Path
) -> None:
    (photos / "002.png").write_text("torn")
    status, out, _ = keep(photos, "--workers", "1", "--task", "mnist", "--device", "cpu")
    assert status == 0
    speed, last = out.splitlines()
    assert " images/s per process: " in speed
    assert last == (
        f"4 of 5 images are answered in {tmp_path / 'out'} (parts: 1); 1 cannot be read, and have "
        f"rows that say why: {photos / '002.png'}."
    )
    table = pq.read_table(tmp_path / "out")
    assert table.column("task").to_pylist() == ["mnist", "mnist", None, "mnist", "mnist"]
    command = json.loads((tmp_path / "out" / "_manifest.json").read_text())["command"]
    assert command.startswith("wemoe-pl predict ")
    assert command.endswith("--task mnist --device cpu --out " + str(tmp_path / "out"))


def test_the_status_is_1_if_no_image_can_be_read_also_when_it_is_given_again(
    keep: Callable[..., Said], photos: Path
) -> None:
    for path in photos.iterdir():
        path.write_text("torn")
    for _ in range(2):
        status, out, err = keep(photos, "--workers", "0")
        assert (status, out) == (1, "")
        assert "None of the 5 images can be read: " in err
        assert "The first reason: it is not a readable image: " in err


def test_several_processes_are_welcome_but_not_to_remove_what_others_do(
    keep: Callable[..., Said], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in torchrun(2)[0].items():
        monkeypatch.setenv(name, value)
    assert keep(photos, "--workers", "0")[0] == 0
    status, _, err = keep(photos, "--fresh")
    assert status == 1
    assert "--fresh removes what other processes answer, and torchrun has started 2: " in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--batch-size", "0"], "--batch-size is 0: give a number from 1."),
        (["--workers", "-1"], "--workers is -1: give a number from 0."),
        (["--device", "gpu!"], "--device is gpu!: give cpu, cuda, or cuda:N for GPU N."),
        (["--device", "cuda:99"], "--device is cuda:99, but there are "),
        (["--task", "minst"], "Did you mean 'mnist'?"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    arguments: list[str], sentence: str, keep: Callable[..., Said], photos: Path, tmp_path: Path
) -> None:
    status, out, err = keep(photos, *arguments)
    assert (status, out) == (1, "")
    assert sentence in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        (None, 0, "cuda:0"), (None, 3, "cuda:1"), ("cuda", 1, "cuda:1"), ("cuda:0", 1, "cuda:0"),
        ("cpu", 1, "cpu"),
    ],
)  # fmt: skip
def test_every_process_of_a_machine_takes_its_gpu(
    name: str | None, number: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_device(name, number) == torch.device(expected)


def test_without_a_gpu_the_cpu_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert chosen_device(None, 3) == torch.device("cpu")
    with pytest.raises(ConfigError, match="--device is cuda, but there are 0 GPUs here"):
        chosen_device("cuda", 0)


@pytest.mark.parametrize(
    ("asked", "processes", "workers"),
    [(None, 1, 8), (None, 3, 2), (None, 99, 1), (3, 1, 3), (0, 1, 0)],
)
def test_the_processes_of_a_machine_share_its_cores(
    asked: int | None, processes: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (kept_answers, cores):
        monkeypatch.setattr(module, "cores_of_process", lambda: 8)
    assert loading_workers(asked, processes) == workers


def test_more_workers_than_cores_are_not_started_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cores, "cores_of_process", lambda: 8)
    assert loading_workers(99, 1) == 8
    said = "Only 8 of 99 processes (--workers) load images: one per core.\n"
    assert capsys.readouterr().err == said

"""Commands beside fit that are killed: what they leave is whole, and they end as if undisturbed."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import open_clip
import pytest
import torch
import yaml
from helpers.interrupted import assert_consistent, assert_nothing_lost, draw_nothing
from helpers.killing import contents, copy_of, kill_repeatedly, kill_until, run_whole
from helpers.loopback_hub import LoopbackHub
from helpers.processes import Running
from huggingface_hub import constants
from PIL import Image
from safetensors import safe_open

from wemoe_pl.cli import main
from wemoe_pl.cli.sweep import progress, workers
from wemoe_pl.system.console import Console
from wemoe_pl.system.files import sha256
from wemoe_pl.system.hub import is_blob_intact

KILLS = pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.soak)])
Look = Callable[[], object]
Make = Callable[[Path], list[str]]


def kill_and_compare(
    kills: int, make: Make, expected: Path, out: Path, logs: Path, look: Look, longest: float,
    change: Callable[[], None] | None = None, before: Callable[[], object] = lambda: None,
    read: Callable[[Path], object] = contents,
) -> None:  # fmt: skip
    """Kill a command so often, and see each time that it ends as one that never was.

    Args:
        kills: how many.
        make: the command for a folder.
        expected: the folder of a command to which nothing happened.
        out: the folder.
        logs: for outputs.
        look: called after every kill.
        longest: seconds within which it is killed.
        change: made in its process.
        before: makes the folder ready for the command.
        read: what lies in a folder.
    """
    generator = random.Random(kills)

    def kill_some(number: int, left: int) -> int:
        before()
        command, folder = make(out), logs / f"{number}"
        made = kill_repeatedly(command, folder, generator, longest, min(left, 5), look, change)
        run_whole(command, folder / "last.log", change)
        assert read(out) == read(expected)
        assert not list(out.parent.glob(f".{out.name}.*"))
        return made

    kill_until(kills, kill_some)


# --- export ----------------------------------------------------------------------------------


@KILLS
def test_an_export_that_is_killed_leaves_the_old_one_or_the_new_one(
    kills: int, uninterrupted: Path, out: Path, tmp_path: Path
) -> None:
    def make(folder: Path, *options: str) -> list[str]:
        bundle = ["--format", "bundle", "--out", str(folder)]
        return ["export", str(uninterrupted), *bundle, *options]

    # Of the same name, which the README of an export has in its code.
    old, new = (tmp_path / when / out.name for when in ("old", "new"))
    run_whole(make(old, "--precision", "bfloat16"), tmp_path / "old.log")
    longest = run_whole(make(new), tmp_path / "new.log")
    assert contents(old) != contents(new)

    def look() -> None:
        assert contents(out) in (contents(old), contents(new))

    kill_and_compare(
        kills, make, new, out, tmp_path / "logs", look, longest, before=lambda: copy_of(old, out)
    )


# --- predict ---------------------------------------------------------------------------------


@KILLS
def test_predictions_that_are_killed_are_the_same_in_the_end(
    kills: int, job: list[str], uninterrupted: Path, out: Path, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for place in range(40):
        pixels = generator.integers(256, size=(28, 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{place}.png")
    config = ["--config", str(uninterrupted / "config.yaml"), "--task", "cars"]
    images = ["--data.images", str(tmp_path / "images"), "--data.test_batch_size", "1"]

    def make(folder: Path) -> list[str]:
        return ["predict", *config, *images, "--out", str(folder)]

    longest = run_whole(make(tmp_path / "expected"), tmp_path / "expected.log")
    table = tmp_path / "expected" / "predictions.csv"

    def look() -> None:
        if (out / table.name).exists():
            assert (out / table.name).read_bytes() == table.read_bytes()

    def begin_anew() -> None:
        (out / table.name).unlink(missing_ok=True)

    kill_and_compare(
        kills, make, table.parent, out, tmp_path / "logs", look, longest, before=begin_anew
    )


# --- heads -----------------------------------------------------------------------------------

SIZES = {"embed_dim": 16, "width": 32, "heads": 2, "layers": 2}


def keep_caches_in(folder: Path) -> None:
    os.environ["WEMOE_PL_CACHE"] = str(folder / "wemoe_pl")


@pytest.fixture
def suite_without_heads(tiny_suite_yaml: Path, tmp_path: Path) -> Path:
    """The tiny suite, whose heads a text tower has to make."""
    model = open_clip.CLIP(
        SIZES["embed_dim"],
        open_clip.CLIPVisionCfg(layers=1, width=32, head_width=8, patch_size=16, image_size=32),
        open_clip.CLIPTextCfg(**{key: SIZES[key] for key in ("width", "heads", "layers")}),
    )
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    suite = yaml.safe_load(tiny_suite_yaml.read_text())
    source = str(tmp_path / "clip.pt")
    suite["text_tower"] = {"model": "ViT-B-32", "source": source, "options": SIZES}
    suite["heads"] = {}
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(suite))
    return path


@KILLS
def test_heads_that_are_killed_are_whole_or_absent(
    kills: int, suite_without_heads: Path, out: Path, tmp_path: Path
) -> None:
    def make(folder: Path) -> list[str]:
        suite = ["--config", "adapt_miniature", "--suite", str(suite_without_heads)]
        return ["heads", *suite, "--out", str(folder)]

    expected, ours = tmp_path / "expected", tmp_path / "caches"
    apart = partial(keep_caches_in, tmp_path / "other_caches")
    longest = run_whole(make(expected), tmp_path / "expected.log", apart)
    whole = heads_in(expected) | heads_in(tmp_path / "other_caches")

    def look() -> None:
        found = heads_in(out) | heads_in(ours)
        assert found == {name: whole[name] for name in found}

    def begin_anew() -> None:
        for path in [*out.rglob("*.*"), *ours.rglob("*.*")]:
            path.unlink()

    kill_and_compare(
        kills, make, expected, out, tmp_path / "logs", look, longest,
        partial(keep_caches_in, ours), begin_anew, heads_in,
    )  # fmt: skip
    assert not [path for path in out.iterdir() if is_part(path.name)]


def heads_in(folder: Path) -> dict[str, Any]:
    """What is written about every head, and its numbers, by name; the order of keys may differ."""
    heads = {}
    for path in folder.rglob("*.safetensors"):
        if not is_part(path.name):
            with safe_open(path, "pt") as file:
                numbers = {key: file.get_tensor(key).tolist() for key in file.keys()}  # noqa: SIM118
                heads[path.name] = (file.metadata(), numbers)
    return heads


def is_part(name: str) -> bool:
    return ".part." in name


# --- prepare ---------------------------------------------------------------------------------


def talk_to(endpoint: str, caches: Path) -> None:
    """As a process that was started with a hub and caches of its own."""
    keep_caches_in(caches)
    os.environ["HF_DATASETS_CACHE"] = str(caches / "datasets")
    for name, value in {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(caches / "hub"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": True,
    }.items():
        setattr(constants, name, value)


@KILLS
def test_what_is_prepared_is_whole_however_often_that_was_killed(
    kills: int, hub_root: Path, tmp_path: Path
) -> None:
    sizes = {"embed_dim": 64, "depth": 2, "num_heads": 4, "img_size": 128, "num_classes": 32}
    tower = {"embed_dim": 32, "width": 32, "heads": 2, "layers": 2}
    command = [
        "prepare", "--config", "adapt_vitb32.yaml", "--tasks", "[mnist,svhn]",
        "--suite.backbone.options", json.dumps(sizes),
        "--suite.text_tower.options", json.dumps(tower),
        "--trainer.logger", "false", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    generator = random.Random(kills)
    with LoopbackHub(hub_root) as hub:
        expected = tmp_path / "expected"
        longest = run_whole(command, tmp_path / "log", partial(talk_to, hub.endpoint, expected))

        def kill_some(number: int, left: int) -> int:
            caches, logs = tmp_path / f"{number}", tmp_path / "logs" / f"{number}"
            change = partial(talk_to, hub.endpoint, caches)
            look = partial(assert_blobs_are_whole, caches)
            made = kill_repeatedly(command, logs, generator, longest, min(left, 5), look, change)
            run_whole(command, logs / "last.log", change)
            assert prepared(caches) == prepared(expected)
            return made

        kill_until(kills, kill_some)


def assert_blobs_are_whole(caches: Path) -> None:
    """What has the name of its hash is not half there."""
    for path in caches.glob("hub/*/snapshots/*/**/*"):
        assert path.is_dir() or is_blob_intact(path)


def prepared(caches: Path) -> dict[str, str]:
    """The hashes of all files of the hub's snapshots, and of the heads."""
    files = [
        *caches.glob("hub/*/snapshots/**/*"),
        *caches.glob("wemoe_pl/heads/*.safetensors"),
    ]
    return {
        path.relative_to(caches).as_posix(): sha256(path)
        for path in files
        if path.is_file() and not is_part(path.name)
    }


# --- sweep -----------------------------------------------------------------------------------


PRINTING = Lock()  # whoever forks while another thread prints hands its locks on, held for ever


class PatientConsole(Console):
    """A console that prints nothing while a process is forked."""

    def print(self, *objects: Any, **options: Any) -> None:
        with PRINTING:
            super().print(*objects, **options)


class Forked:
    """A process as `subprocess.Popen` starts it, without the seconds of its imports."""

    def __init__(
        self,
        command: Sequence[str],
        stdin: int,
        stdout: Any,
        stderr: int,
        env: Mapping[str, str],
    ) -> None:
        reading, writing = os.pipe()
        with PRINTING:
            sys.stdout.flush()
            self.pid = os.fork()
        if not self.pid:
            os.close(writing)
            sys.stdin = os.fdopen(reading)  # that of a forked test is another than 0
            os.dup2(stdout.fileno(), 1)
            os.dup2(stdout.fileno(), 2)
            os.environ.clear()
            os.environ.update(env)
            status = main.main(list(command[1 + len(workers.LAUNCH) :]))
            sys.stdout.flush()
            os._exit(status)
        os.close(reading)
        self.stdin = os.fdopen(writing, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdin.close()

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def fork_points() -> None:
    draw_nothing()
    vars(progress)["Console"] = PatientConsole
    kept = {name: getattr(subprocess, name) for name in ("PIPE", "STDOUT", "TimeoutExpired")}
    vars(workers)["subprocess"] = SimpleNamespace(Popen=Forked, **kept)


SEEDS = ("0", "1")


@KILLS
def test_a_sweep_that_is_killed_takes_its_points_along_and_is_the_same_in_the_end(
    kills: int, job: list[str], out: Path, tmp_path: Path
) -> None:
    def make(folder: Path) -> list[str]:
        grid = ["--grid", f"seed_everything={','.join(SEEDS)}", "--trainer.max_steps", "12"]
        return ["sweep", *job, *grid, "--out", str(folder)]

    expected = tmp_path / "expected"
    longest = run_whole(make(expected), tmp_path / "expected.log", fork_points)
    generator, points = random.Random(kills), [f"seed_everything={seed}" for seed in SEEDS]

    def kill_some(number: int, left: int) -> int:
        folder, made = tmp_path / f"sweep{number}", 0
        for life in range(min(left, 5)):
            with Running(make(folder), tmp_path / f"{number}.{life}.log", fork_points) as run:
                run.process.join(generator.uniform(0, longest))
                run.send(signal.SIGKILL)
                made += run.wait() == -signal.SIGKILL
                if generator.random() < 0.5:  # else the next sweep begins beside what is left
                    while run.others:
                        run.process.join(0.01)
            for point in points:
                assert_consistent(folder / point)
        run_whole(make(folder), tmp_path / f"{number}.log", fork_points)
        for point in points:
            assert_nothing_lost(folder / point, expected / point)
            assert "in use" not in (folder / point / "log.txt").read_text()
        return made

    kill_until(kills, kill_some)

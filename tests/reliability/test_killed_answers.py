"""Processes that answer shards together are killed: no answer is lost, and none comes twice."""

import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from helpers.killing import kill_until, run_whole
from helpers.processes import Running
from helpers.shards import noise, write_images, write_table, write_tar

from wemoe_pl.data.shards import plan
from wemoe_pl.export.many_images.answers_record import read_record
from wemoe_pl.system.files import sha256

IMAGES = 60
KILLS = pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.soak)])
Row = dict[str, object]
# The last is that of a process that cannot handle signals yet.
ENDS = (0, -signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM)


def small_units() -> None:
    """Many units of a few images."""
    plan.UNIT_IMAGES = 4


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    """Sixty images, one of them torn, in a folder, tars and a table."""
    paths = write_images(tmp_path / "photos", 20)
    paths[7].write_text("torn")
    for shard in range(2):
        contents = {f"{i}.png": noise(100 + 10 * shard + i) for i in range(10)}
        write_tar(tmp_path / f"s-{shard}.tar", contents)
    write_table(tmp_path / "t.parquet", [noise(200 + i) for i in range(20)], 7)
    return [str(tmp_path / name) for name in ("photos", "s-{0..1}.tar", "t.parquet")]


def rows(out: Path) -> list[Row]:
    """The answers, by the names of their images."""
    found: list[Row] = ds.dataset(out).to_table().to_pylist()
    return sorted(found, key=lambda row: str(row["image"]))


def assert_parts_are_whole(out: Path) -> None:
    """Whatever is there may be read, and no image is there twice."""
    images = [
        image
        for part in out.glob("part-*.parquet")
        for image in pq.read_table(part).column("image").to_pylist()
    ]
    assert len(set(images)) == len(images)


def started(command: list[str], log: Path, how_many: int, stack: ExitStack) -> Iterator[Running]:
    for number in range(how_many):
        running = Running(command, log.with_suffix(f".{number}.log"), small_units)
        yield stack.enter_context(running)


@KILLS
def test_no_answer_is_lost_or_doubled_however_often_processes_are_killed(
    kills: int, checkpoint: Path, shards: list[str], tmp_path: Path
) -> None:
    def command(out: Path) -> list[str]:
        return ["predict", str(checkpoint), *shards, "--workers", "1", "--out", str(out)]

    expected = tmp_path / "expected"
    longest = run_whole(command(expected), tmp_path / "logs" / "expected", small_units)
    assert len({row["image"] for row in rows(expected)}) == IMAGES
    generator = random.Random(kills)

    def kill_some(number: int, left: int) -> int:
        out, logs, made = tmp_path / f"out{number}", tmp_path / "logs", 0
        for life in range(min(left, 3)):
            with ExitStack() as stack:
                log = logs / f"{number}-{life}"
                pair = list(started(command(out), log, 2, stack))
                pair[0].process.join(generator.uniform(0, longest))
                pair[0].send(generator.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
                status = pair[0].wait()
                assert status in ENDS, pair[0].output
                made += status != 0
                if generator.random() < 0.5:  # else the other is left to answer what is missing
                    pair[1].send(signal.SIGKILL)
                    made += pair[1].wait() == -signal.SIGKILL
            assert_parts_are_whole(out)  # the other was killed at the end of the block
        run_whole(command(out), logs / f"{number}", small_units)
        assert rows(out) == rows(expected)
        record = read_record(out / "_manifest.json")
        assert (record.images, record.unreadable) == (IMAGES, 1)
        assert {path.name for path in out.iterdir()} == {
            "_manifest.json", *(part.file for part in record.parts),
        }  # fmt: skip
        assert all(sha256(out / part.file) == part.sha256 for part in record.parts)
        return made

    kill_until(kills, kill_some)

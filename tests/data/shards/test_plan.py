"""A plan is laid down once, and has every image in one unit."""

import os
from pathlib import Path

import pytest
from helpers.shards import noise, write_images, write_table, write_tar

from wemoe_pl.data.shards import plan as module
from wemoe_pl.data.shards.plan import ShardError, WorkPlan, lay_down, read_plan
from wemoe_pl.errors import DataError


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNIT_IMAGES", 4)


def planned(folder: Path, *sources: Path) -> WorkPlan:
    return lay_down(folder / "plan.json", [str(source) for source in sources], {"task": "mnist"})


def names(plan: WorkPlan) -> list[str]:
    return [piece.name for unit in range(len(plan.images)) for piece in plan.pieces(unit)]


def test_every_image_is_in_one_unit_in_the_order_of_the_sources(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "photos", 6)
    shard = write_tar(tmp_path / "s.tar", {f"{i}.png": noise(i) for i in range(5)})
    plan = planned(tmp_path / "work", tmp_path / "photos", shard)
    assert plan.images == [4, 4, 3]
    assert names(plan) == [*map(str, paths), *(f"{shard}/{i}.png" for i in range(5))]
    assert plan.facts.question == {"task": "mnist"}
    assert read_plan(tmp_path / "work" / "plan.json") == plan


def test_rows_stay_together_even_if_they_are_more_than_a_unit(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [noise(0)] * 9, 6)
    [path] = write_images(tmp_path / "photos", 1)
    plan = planned(tmp_path / "work", path, table)
    assert plan.images == [1, 6, 3]


def test_paths_need_not_be_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    write_images(folder, 1)
    [piece] = planned(tmp_path / "work", tmp_path).pieces(0)
    assert piece.path == folder / "000.png"
    assert piece.path.is_file()
    assert piece.name.endswith(r"caf\xe9/000.png")


def test_a_folder_that_changes_is_told_and_the_plan_stays(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", 6)
    plan = planned(tmp_path / "work", tmp_path / "photos")
    assert plan.changed_folders() == []
    (tmp_path / "photos" / "new.png").write_bytes(noise(9))
    os.utime(tmp_path / "photos", ns=(1, 1))
    assert plan.changed_folders() == [str(tmp_path / "photos")]
    assert len(names(plan)) == 6


@pytest.mark.parametrize("kind", ["s.tar", "t.parquet"])
def test_a_shard_that_changes_or_goes_away_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if kind == "s.tar":
        write_tar(path, {"a.png": noise(0)})
    else:
        write_table(path, [noise(0)], 1)
    plan = planned(tmp_path / "work", path)
    facts = path.stat()
    os.utime(path, ns=(1, 1))
    with pytest.raises(ShardError, match=rf"^{path} has changed since its images were listed"):
        plan.changed_folders()
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(1, facts.st_mtime_ns))
    with pytest.raises(ShardError, match="has changed since its images were listed: put it back"):
        plan.changed_folders()
    path.unlink()
    with pytest.raises(ShardError, match="is no longer there since its images were listed"):
        plan.changed_folders()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"images": "x", "question": {}}'])
def test_a_damaged_plan_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(DataError, match=r"plan\.json is damaged \(.*\): begin anew with --fresh"):
        read_plan(tmp_path / "plan.json")


def test_a_source_that_cannot_be_read_leaves_no_plan(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", 6)
    with pytest.raises(DataError, match="There is no folder or file"):
        planned(tmp_path / "work", tmp_path / "photos", tmp_path / "gone")
    assert list((tmp_path / "work").iterdir()) == []

"""The manifest adds up the parts, and is checked when it is read again."""

import hashlib
import json
from pathlib import Path

import pytest

from wemoe_pl.data.shards.plan import PlanFacts
from wemoe_pl.errors import WeMoEError
from wemoe_pl.export.many_images.answers_record import AnswersRecord, read_record, write_record
from wemoe_pl.export.many_images.parts import PartFacts
from wemoe_pl.export.many_images.stages import DECODING, MODEL, WAITING, WRITING

SECONDS = {DECODING: 9.0, WAITING: 1.0, MODEL: 2.0, WRITING: 1.0}


@pytest.fixture
def record(tmp_path: Path) -> AnswersRecord:
    parts = {}
    for place, names in enumerate((["a"], ["b", "c"])):
        path = tmp_path / f"part-{place:05}.parquet"
        path.write_text(f"part {place}")
        bad = len(names)
        parts[path] = PartFacts("q", 4, 4 - bad, 1, bad, names, {"it is torn": bad}, SECONDS)
    plan = PlanFacts([4, 4], {"task": None}, 0.25, 0.0)
    return write_record(tmp_path / "_manifest.json", plan, parts, {"source": "run"}, "wemoe-pl …")


def test_the_parts_are_added_up(record: AnswersRecord) -> None:
    assert (record.images, record.answered, record.of_none, record.unreadable) == (8, 5, 2, 3)
    assert record.unreadable_names == ["a", "b", "c"]
    assert record.reasons == {"it is torn": 3}
    assert record.seconds == {
        "listing": 0.25,
        DECODING: 18.0,
        WAITING: 2.0,
        MODEL: 4.0,
        WRITING: 2.0,
    }
    assert record.images_per_second == 1.0
    assert record.shares == {WAITING: 0.25, MODEL: 0.5, WRITING: 0.25}
    assert [part.rows for part in record.parts] == [4, 4]
    assert record.parts[1].sha256 == hashlib.sha256(b"part 1").hexdigest()


def test_it_is_read_back(record: AnswersRecord, tmp_path: Path) -> None:
    assert read_record(tmp_path / "_manifest.json") == record


@pytest.mark.parametrize(
    "change", [{"images": "8"}, {"images": -1.5}, {"parts": None}, {"of a later version": 1}]
)
def test_one_that_is_not_as_it_was_written_is_refused(
    change: dict[str, object], record: AnswersRecord, tmp_path: Path
) -> None:
    path = tmp_path / "_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(WeMoEError, match=r"_manifest\.json is damaged or of another version \("):
        read_record(path)
    path.write_text("{")
    with pytest.raises(WeMoEError, match="begin anew with --fresh"):
        read_record(path)

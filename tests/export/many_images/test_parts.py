"""A part is a plain parquet file that says what it counts, and which question it answers."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from wemoe_pl.errors import WeMoEError
from wemoe_pl.export.many_images.parts import (
    MOST_REASONS,
    OTHER_REASONS,
    PartFacts,
    as_plain,
    facts_of,
    most_common,
    read_part_facts,
    reason_of,
    write_part,
)
from wemoe_pl.model.prediction import Prediction
from wemoe_pl.model.prediction_table import HEADER

ANSWERS = [
    Prediction("mnist", 0.5, "2", 0.25, [], "a.png"),
    Prediction.of_none(0.1)._replace(image="b.png"),
    Prediction.unreadable("c.png", "c.png is not a readable image: it is torn"),
    Prediction.unreadable("row 3 of t.parquet, x.png", "row 3 of t.parquet has no image."),
    Prediction.unreadable("\udce9.png", "\udce9.png is not a readable image: it is torn"),
]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part-00000.parquet"
    write_part(path, ANSWERS, lambda: as_plain(facts_of("q", ANSWERS), {"model": 0.5}))
    return path


def test_it_is_read_back_with_what_was_counted(part: Path) -> None:
    facts = read_part_facts(part, "q")
    assert facts == PartFacts(
        question="q", images=5, answered=2, of_none=1, unreadable=3,
        names=["c.png", "row 3 of t.parquet, x.png", r"\udce9.png"],
        reasons={"is not a readable image: it is torn": 2, "has no image.": 1},
        seconds={"model": 0.5},
    )  # fmt: skip


def test_its_rows_are_those_of_the_table(part: Path) -> None:
    table = pq.read_table(part)
    assert tuple(table.column_names) == HEADER
    assert table.column("class").to_pylist() == ["2", None, None, None, None]
    assert table.column("image").to_pylist()[4] == r"\udce9.png"


def test_many_reasons_are_counted_together(tmp_path: Path) -> None:
    reasons = most_common(Counter({f"reason {i}": 1 for i in range(MOST_REASONS + 5)}))
    assert len(reasons) == MOST_REASONS + 1
    assert reasons[OTHER_REASONS] == 5


def test_a_reason_without_the_name_is_kept_whole() -> None:
    assert reason_of(Prediction.unreadable("a.png", "It is torn")) == "It is torn"


def test_a_damaged_part_and_one_of_other_answers_are_refused(part: Path) -> None:
    with pytest.raises(WeMoEError, match=r"part-00000\.parquet is no part of these answers"):
        read_part_facts(part, "another")
    pq.write_table(pq.read_table(part).replace_schema_metadata(), part)
    with pytest.raises(WeMoEError, match=r"part-00000\.parquet is damaged: remove it, and give"):
        read_part_facts(part, "q")
    part.write_bytes(b"PAR1")
    with pytest.raises(WeMoEError, match=r"part-00000\.parquet is damaged: remove it, and give"):
        read_part_facts(part, "q")

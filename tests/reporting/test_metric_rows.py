"""The lines of metrics that a run goes on with, and those that no run has written."""

from pathlib import Path

import pytest

from wemoe_pl.errors import CheckpointError
from wemoe_pl.reporting.loggers import MetricsFile
from wemoe_pl.reporting.metric_rows import rows_before


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "logs" / "metrics.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_earlier_lines_are_kept_and_a_torn_one_is_not(tmp_path: Path) -> None:
    path = write(tmp_path, "a,step\n0.5,1\n,2\ninf,3\nnan,4\n0.7,5\n0.")
    assert rows_before(path, 5) == [
        {"a": "0.5", "step": "1"}, {"step": "2"}, {"a": "inf", "step": "3"},
        {"a": "nan", "step": "4"},
    ]  # fmt: skip
    assert rows_before(path, 0) == rows_before(tmp_path / "none.csv", 5) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,b\n1,2\n", "no column 'step'"),
        ("\n", "no column 'step'"),
        ("a,a,step\n1,2,3\n", "two of one name"),
        (",step\n1,3\n", "without a name"),
        ("a,step\n0.5,1\n0.5\n", "a line has 1 cells under 2 names"),
        ("a,step\n0.5,1,7\n", "a line has 3 cells under 2 names"),
        ("a,step\nhigh,1\n", "could not convert string to float: 'high'"),
        ("a,step\n0.5,\n", "'' is not the number of a step"),
        ("a,step\n0.5,-1\n", "'-1' is not the number of a step"),
        ("a,step\n0.5,1.0\n", "'1.0' is not the number of a step"),
        (f"a,step\n0.5,{'1' * 5000}\n", "' is not the number of a step"),
        ('a,step\n"0.5,1\n', "unexpected end of data"),
    ],
)
def test_a_damaged_file_is_refused_before_the_run(
    text: str, complaint: str, tmp_path: Path
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(CheckpointError, match=rf"metrics\.csv is damaged: .*{complaint}.* delete"):
        MetricsFile(str(tmp_path)).identify({}, first_step=3)
    MetricsFile(str(tmp_path)).identify({})  # begins anew, and keeps nothing of it
    assert path.read_text() == text


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes(b"a,step\n\xff\xfe,1\n")
    with pytest.raises(CheckpointError, match=r"metrics\.csv is damaged"):
        rows_before(path, 2)

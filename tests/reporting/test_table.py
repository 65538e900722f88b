"""The same table in three forms, character by character."""

import csv
import io
from dataclasses import replace
from statistics import mean, stdev

import pytest

from wemoe_pl.reporting.table import Cell, ResultRow, ResultTable, as_csv, escaped, latex, markdown

TABLE = ResultTable(
    suite="tiny",
    title="tiny, 1 tasks",
    corruption="",
    columns=["dtd", "mean"],
    rows=[
        ResultRow("TIES", [Cell(0.5), Cell(0.5)], seeds=[0]),
        ResultRow("WEMoE", [Cell.of([0.7, 0.8]), Cell.of([0.7, 0.8])], seeds=[0, 1]),
        ResultRow("Individual", [Cell(0.9), Cell(None)], is_ceiling=True),
    ],
    published=[ResultRow("RegMean", [Cell(0.6), Cell(0.6)], family="C", source="a p")],
    notes=["R."],
)


def test_markdown() -> None:
    assert (
        markdown([TABLE])
        == """\
### tiny, 1 tasks

Accuracy, %.

| method | dtd | mean |
| --- | ---: | ---: |
| TIES | 50.0 | 50.0 |
| WEMoE | **75.0 ± 7.1** | **75.0 ± 7.1** |
| Individual | 90.0 | – |
| RegMean † | 60.0 | 60.0 |

R.

† Published, not run here: checkpoints of family C, a p.
"""
    )


def test_latex() -> None:
    assert latex([TABLE]) == (
        r"""\begin{table}
\centering
\caption{Accuracy on tiny, 1 tasks, \%. R. """
        r"$\dagger$ Published, not run here: checkpoints of family C, a p.}"
        r"""
\begin{tabular}{lrr}
\toprule
method & dtd & mean \\
\midrule
TIES & 50.0 & 50.0 \\
WEMoE & \textbf{75.0 $\pm$ 7.1} & \textbf{75.0 $\pm$ 7.1} \\
Individual & 90.0 & -- \\
\midrule
RegMean $\dagger$ & 60.0 & 60.0 \\
\bottomrule
\end{tabular}
\end{table}
"""
    )


def test_csv_holds_all_digits_and_says_what_is_published() -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv([TABLE]))))
    assert [line["method"] for line in lines] == ["TIES", "WEMoE", "Individual", "RegMean"]
    assert [line["source"] for line in lines] == ["this program"] * 3 + ["a p"]
    assert [line["checkpoint_family"] for line in lines] == ["", "", "", "C"]
    assert lines[1]["seeds"] == "0 1"
    assert float(lines[1]["dtd"]) == 0.75
    assert lines[2]["mean"] == ""


def test_csv_has_nothing_that_a_spreadsheet_would_run() -> None:
    text = as_csv([replace(TABLE, suite="=1+1", columns=["@task", "-mean"])])
    header, *lines = csv.reader(io.StringIO(text))
    assert header[-2:] == ["'@task", "'-mean"]
    assert {line[0] for line in lines} == {"'=1+1"}


@pytest.mark.parametrize("values", [[0.1], [0.1, 0.4], [0.2, 0.3, 0.9]])
def test_several_numbers_become_mean_and_deviation(values: list[float]) -> None:
    cell = Cell.of(values)
    assert cell.value == pytest.approx(mean(values))
    assert cell.deviation == (pytest.approx(stdev(values)) if len(values) > 1 else None)


def test_one_merged_model_alone_is_not_called_the_best() -> None:
    rows = [TABLE.rows[0], TABLE.rows[2]]
    alone = ResultTable("tiny", "t", "", ["dtd", "mean"], rows, [], [])
    assert "**" not in markdown([alone])


@pytest.mark.parametrize("character", list("&%$#_{}"))
def test_what_latex_would_read_as_a_command_is_escaped(character: str) -> None:
    assert escaped(f"a{character}b") == f"a\\{character}b"

"""A report as a page shows what it shows as a document."""

import re
from html import unescape
from pathlib import Path

import pytest
from helpers.written_runs import hub_sources, printed_table, write_run

from wemoe_pl.data.tasks import PAPER_TASKS
from wemoe_pl.reporting.comparison import TableOptions
from wemoe_pl.reporting.published import published_rows
from wemoe_pl.reporting.report import report_page


def test_a_page_has_the_rows_of_the_document_and_a_section_for_every_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, value in enumerate((0.9, 0.7)):
        write_run(tmp_path / "runs" / str(seed), "WEMoE", {"cars": value}, seed)
    reference = {"pretrained": {"cars": 0.4}, "individual": {"cars": 0.95}}
    write_run(tmp_path / "runs" / "ties", "TIES", {"cars": 0.5}, reference=reference)
    out = tmp_path / "pages" / "runs.html"
    options = TableOptions(references=True, mean_over_seeds=True, sort="mean")
    lines = printed_table(capsys, tmp_path / "runs", options=options)
    report_page([str(tmp_path / "runs")], out, options)
    assert capsys.readouterr().out == ""
    page = out.read_text()
    rows = re.findall(r'<th scope="row">(?:<a [^>]*>)?([^<]*)', page)
    assert rows == [line[0] for line in lines[2:]] == ["pretrained", "TIES", "WEMoE", "individual"]
    assert "80.0 ± 14.1" in page
    assert re.findall("<h3>(.*)</h3>", page) == ["WEMoE (seed 0)", "WEMoE (seed 1)", "TIES"]


def test_published_rows_of_a_page_stand_below_their_source(tmp_path: Path) -> None:
    scores, sources = dict.fromkeys(PAPER_TASKS, 0.5), hub_sources(PAPER_TASKS)
    write_run(tmp_path / "a", "WEMoE", scores, suite="CLIP ViT-B/32", sources=sources)
    report_page([str(tmp_path)], tmp_path / "out.html", TableOptions(published=True))
    page = unescape((tmp_path / "out.html").read_text())
    rows = published_rows("CLIP ViT-B/32", "eight tasks", "C")
    assert re.findall(r"<th scope=.row.>(.*)\s†<", page) == [row.method for row in rows]
    below = re.findall("Published, not run here: checkpoints of family C, (.*)</span>", page)
    assert below == list(dict.fromkeys(row.origin for row in rows))

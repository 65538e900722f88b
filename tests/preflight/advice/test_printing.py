"""What is printed: warnings first, promising methods first, and no figure where there is none."""

from dataclasses import replace
from io import StringIO

from wemoe_pl.preflight.advice.costs import Cost
from wemoe_pl.preflight.advice.methods import Verdict
from wemoe_pl.preflight.advice.printing import print_advice, reasons_of, verdict_rows
from wemoe_pl.preflight.advice.sentences import Sentence
from wemoe_pl.system.console import Console

VERDICTS = (
    Verdict("TIES", "ties", "doubtful", "pretrained", "reach", "It is far.", "arXiv 1"),
    Verdict("EMR", "emr", "promising", "pretrained", "sign conflicts", "It is told.", ""),
)
COSTS = {"ties": Cost("ties", 2_000_000, 1.0), "emr": Cost("emr", None, None)}


def printed(*sentences: Sentence) -> str:
    page = StringIO()
    print_advice(Console(file=page, width=200), "tiny", sentences, VERDICTS, COSTS)
    return page.getvalue()


def test_promising_methods_come_first_and_what_is_unknown_is_a_dash() -> None:
    titles, first, second = verdict_rows(VERDICTS, COSTS)
    assert titles == ("method", "verdict", "reason", "memory", "MLPs", "source")
    assert first == ("EMR", "promising", "It is told.", "–", "–", "–")
    assert second == ("TIES", "doubtful", "It is far.", "2 MB", "1.00×", "arXiv 1")


def test_warnings_come_before_what_is_well() -> None:
    fine = Sentence("a", 1, "All is well.", "a paper")
    wrong = Sentence("b", 9, "It is too long.", "another", 1.0, warns=True)
    text = printed(fine, wrong)
    assert text.index("Warnings, tiny") < text.index("It is too long. [another]")
    assert text.index("It is too long.") < text.index("Nothing to warn of, tiny")
    assert text.index("All is well. [a paper]") < text.index("Methods, by the reason")
    assert "Warnings" not in printed(fine)


def test_a_reason_is_told_once_for_all_its_methods() -> None:
    dare = replace(VERDICTS[0], method="DARE", config="dare")
    assert reasons_of([*VERDICTS, dare]) == [
        "promising: EMR. It is told.",
        "doubtful: TIES, DARE. It is far.",
    ]
    assert printed().count("It is far.") == 1

"""docs/advice.md is what its script makes of the kept verdicts and the tables of results."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.benchmark_scripts import names_of

from wemoe_pl.preflight.advice import sentences
from wemoe_pl.preflight.advice.advising import advise
from wemoe_pl.preflight.advice.methods import KNOWN_METHODS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of the script that makes the tables."""
    return names_of("advice_table.py")


def test_the_page_is_what_the_script_makes(script: dict[str, Any]) -> None:
    text = script["DOCUMENT"].read_text("utf-8")
    assert script["advice_page"](text) == text, "Run `make advice`."


@pytest.mark.parametrize("suite", ["miniature", "miniature20"])
def test_every_verdict_is_kept_and_failures_are_named(suite: str, script: dict[str, Any]) -> None:
    kept = json.loads((ROOT / "benchmarks" / "advice" / f"{suite}.json").read_text("utf-8"))
    assert [v["config"] for v in kept["verdicts"]] == [known.config for known in KNOWN_METHODS]
    table = script["agreement"](suite)
    failures = table.count("**no**")
    [(right, rows)] = re.findall(r"(\d+) of (\d+) agree", table)
    assert int(right) + failures == int(rows)


def test_the_page_has_the_limits_of_the_code() -> None:
    page = (ROOT / "docs" / "advice.md").read_text("utf-8")
    for limit in (sentences.NORM_RATIO, sentences.NORM_RATIO_OF_SUMS, sentences.CONFIDENT):
        assert f"{limit:g}" in page
    figures = re.findall(r"^\| ([a-zA-Z ]+) \| .* \| .* \| .* \|$", page, re.MULTILINE)
    assert {"norm ratio", "reach", "reach outside MLPs", "least confidence"} <= set(figures)


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["miniature", "miniature20"])
def test_the_advice_of_today_is_the_kept_one(suite: str, script: dict[str, Any]) -> None:
    kept = json.loads((ROOT / "benchmarks" / "advice" / f"{suite}.json").read_text("utf-8"))
    found = advise(suite, script["IMAGES"])
    ours = {verdict.config: verdict.judgement for verdict in found.verdicts}
    assert ours == {v["config"]: v["judgement"] for v in kept["verdicts"]}
    for sentence in found.sentences:
        assert kept["figures"][sentence.figure] == pytest.approx(sentence.value, abs=2e-3)

"""Verdicts: the figure that each rests on, and the side of the limit that it follows from."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import wemoe_pl
from wemoe_pl.model.recipe import describe
from wemoe_pl.preflight.advice.confidence import Confidence
from wemoe_pl.preflight.advice.measures import TaskVectorFigures
from wemoe_pl.preflight.advice.methods import KNOWN_METHODS, KnownMethod, Verdict, judge

Figures = Callable[..., TaskVectorFigures]
ROOT = Path(wemoe_pl.__file__).parents[1]
CONFIGS = ROOT / "configs"
UNSURE: dict[str, Confidence | str] = {"a": Confidence(0.5, 0.7, 8, "test")}
SURE: dict[str, Confidence | str] = {"a": Confidence(0.99, 0.1, 8, "test")}
SPECTRAL = ("svc", "tsv_m", "iso_c", "iso_cts", "cart", "wudi", "mass")
SUMS = (
    "task_arithmetic", "ties", "dare", "consensus", "adamerging_task_wise",
    "adamerging_layer_wise",
)  # fmt: skip
KNOWN = pytest.mark.parametrize("known", KNOWN_METHODS, ids=lambda known: known.config)


def verdicts(
    found: TaskVectorFigures, confidence: dict[str, Confidence | str] | None = None
) -> dict[str, Verdict]:
    """The verdicts, by config."""
    return {verdict.config: verdict for verdict in judge(found, confidence or {})}


@KNOWN
def test_a_method_has_the_settings_of_its_config(known: KnownMethod) -> None:
    text = (CONFIGS / f"{known.config}.yaml").read_text("utf-8")
    merge = yaml.safe_load(text)["model"]["init_args"]["merge"]
    assert type(known.method).__name__ == merge["class_path"]
    ours = describe(known.method)["init_args"]
    for name, value in merge.get("init_args", {}).items():
        if not isinstance(value, dict):
            assert ours[name] == value, name


@KNOWN
def test_a_method_has_the_source_of_the_page_on_methods(known: KnownMethod) -> None:
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    row = next(line for line in page.splitlines() if f"[{known.config}](../configs" in line)
    assert (re.findall(r"arXiv [\d.]+", row) or [""])[0] == known.source


def test_every_method_is_judged_once_and_an_open_verdict_names_no_figure(
    figures: Figures,
) -> None:
    found = [*judge(figures([1, 0], [0, 1]), {})]
    assert [verdict.config for verdict in found] == [known.config for known in KNOWN_METHODS]
    for verdict in found:
        assert (verdict.figure == "") == (verdict.judgement == "open")
        assert verdict.reason.endswith(".")


def test_sums_are_doubtful_where_they_lead_too_far(figures: Figures) -> None:
    near, far = verdicts(figures([1, 0], [0, 1])), verdicts(figures(*([[1.0, 0.0]] * 5)))
    for config in SUMS:
        assert (near[config].judgement, far[config].judgement) == ("promising", "doubtful")
        assert near[config].figure == far[config].figure == "reach"
        assert "reach is 1.50, above 1" in far[config].reason
    assert far["simple_average"].judgement == "promising"


def test_sums_are_doubtful_where_one_task_vector_is_far_longer(figures: Figures) -> None:
    found = verdicts(figures([1, 0], [0, 3.6]))
    assert (found["ties"].judgement, found["ties"].figure) == ("doubtful", "norm ratio")
    assert verdicts(figures([1, 0], [0, 3.4]))["ties"].judgement == "promising"


@pytest.mark.parametrize(
    ("second", "confidence", "judgement", "figure", "said"),
    [
        ([0, 2.0], SURE, "promising", "norm ratio", "The norm ratio is 2.0, not above 2.1."),
        ([0, 2.0], {}, "promising", "norm ratio", "confidence was not measured (--images)."),
        ([0, 2.0], UNSURE, "doubtful", "least confidence", "1 expert is less confident than 0.81."),
        ([0, 2.2], SURE, "doubtful", "norm ratio", "The norm ratio is 2.2, above 2.1."),
        ([0, 2.2], UNSURE, "doubtful", "norm ratio", "above 2.1 and 1 expert is less confident"),
    ],
)
def test_spectral_merges_need_even_lengths_and_sure_experts(
    second: list[float],
    confidence: dict[str, Confidence | str],
    judgement: str,
    figure: str,
    said: str,
    figures: Figures,
) -> None:
    found = verdicts(figures([1, 0], second), confidence)
    for config in SPECTRAL:
        assert (found[config].judgement, found[config].figure) == (judgement, figure)
        assert said in found[config].reason


def test_model_stock_follows_from_its_formula(figures: Figures) -> None:
    apart, alike = verdicts(figures([1, 0], [0, 1])), verdicts(figures([1, 0], [1, 0.5]))
    assert (apart["model_stock"].judgement, alike["model_stock"].judgement) == (
        "doubtful", "promising",
    )  # fmt: skip
    assert "keeps 0% of the average: it stays near" in apart["model_stock"].reason


def test_wemoe_is_judged_outside_the_mlps_and_against_task_arithmetic(figures: Figures) -> None:
    inside = verdicts(figures(*([[0.0, 1.0]] * 5)))
    outside = verdicts(figures(*([[1.0, 0.0]] * 5)))
    for config in ("adapt_vitb32", "e_wemoe"):
        assert (inside[config].judgement, outside[config].judgement) == ("promising", "doubtful")
        assert inside[config].than == "task_arithmetic"
        assert "best.yaml" in outside[config].reason
    assert inside["ties"].than == "pretrained"


def test_methods_that_are_told_the_task_do_not_depend_on_conflicts(figures: Figures) -> None:
    found = verdicts(figures([1, 0], [0, 1], conflicts=(0.7,)))
    for config in ("emr", "tall_masks", "t_switch", "individual"):
        assert found[config].judgement == "promising"
        assert "70% of conflicts" in found[config].reason

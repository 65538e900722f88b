"""The choice of a setting by information: over its seeds, with and without labels, and again."""

import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from helpers.sweeps import JOB, run_sweep

from wemoe_pl.cli.sweep.choice import choose, write_choice
from wemoe_pl.cli.sweep.points import Point
from wemoe_pl.cli.sweep.records import read_choice
from wemoe_pl.training.shown_metrics import LabelFreeScore

# By depth and seed: the best single point is of depth 2, whose mean is not the best.
SCORES = {("1", "0"): 0.70, ("1", "1"): 0.74, ("2", "0"): 0.40, ("2", "1"): 0.90}


def finished(scores: dict[tuple[str, str], float | None]) -> list[tuple[Point, dict[str, Any]]]:
    """The points of a grid of depths and seeds, with the information of each."""
    runs = []
    for (depth, seed), score in scores.items():
        settings = {"model.merge.router_depth": depth, "seed_everything": seed}
        results = {} if score is None else {"information": {"cars": score, "mnist": score}}
        runs.append((Point(settings, Path(f"out/{depth}-{seed}"), ()), results))
    return runs


def test_the_setting_of_the_largest_mean_over_seeds_is_chosen(tmp_path: Path) -> None:
    chosen = choose(finished({**SCORES}))
    assert chosen is not None
    assert chosen.values == {"model.merge.router_depth": "1"}
    assert chosen.mean == pytest.approx(fmean([0.70, 0.74]))
    assert chosen.in_words == "router_depth 1 (information 72.0 ± 2.8, the mean of 2 seeds)"
    assert write_choice(tmp_path / "chosen.json", chosen) == ""
    assert json.loads((tmp_path / "chosen.json").read_text()) == {
        "model.merge.router_depth": "1", "folder": "out/1-0", "folders": ["out/1-0", "out/1-1"],
        "selected_by": "information", "information": pytest.approx(0.72),
    }  # fmt: skip


def test_settings_of_fewer_seeds_are_compared_with_a_warning() -> None:
    some = {key: score for key, score in SCORES.items() if key != ("2", "0")}
    with pytest.warns(
        UserWarning, match=r"by means over 1 to 2 seeds, since some points have not fin"
    ):
        chosen = choose(finished({**some}))
    assert chosen is not None
    assert chosen.values == {"model.merge.router_depth": "2"}


def with_agreement(
    runs: list[tuple[Point, dict[str, Any]]], *agreements: float | None
) -> list[tuple[Point, dict[str, Any]]]:
    """The same points, with an agreement each."""
    known = [{} if a is None else {"agreement": {"cars": a, "mnist": a}} for a in agreements]
    return [(p, results | own) for (p, results), own in zip(runs, known, strict=True)]


def test_another_score_chooses_another_setting(tmp_path: Path) -> None:
    runs = with_agreement(finished({**SCORES}), 0.8, 0.9, 0.87, 0.85)
    chosen = choose(runs, "agreement")
    assert chosen is not None
    assert chosen.values == {"model.merge.router_depth": "2"}
    assert chosen.in_words == "router_depth 2 (agreement 86.0 ± 1.4, the mean of 2 seeds)"
    write_choice(tmp_path / "chosen.json", chosen)
    written = json.loads((tmp_path / "chosen.json").read_text())
    assert written["selected_by"] == "agreement"
    assert written["agreement"] == pytest.approx(0.86)
    assert written["information"] == pytest.approx(fmean([0.40, 0.90]))
    assert read_choice(tmp_path / "chosen.json") == written


def test_the_other_score_never_stands_in() -> None:
    assert choose(finished({**SCORES}), "agreement") is None


def test_settings_without_the_score_are_named() -> None:
    runs = with_agreement(finished({**SCORES}), 0.8, 0.9, None, None)
    with pytest.warns(
        UserWarning, match=r"^These have no agr.*, and are left out of the choice: out/2-0\.$"
    ):
        chosen = choose(runs, "agreement")
    assert chosen is not None
    assert chosen.values == {"model.merge.router_depth": "1"}


@pytest.mark.parametrize("score", ["information", "agreement"])
def test_an_agreement_on_corrupted_images_is_warned_of(
    score: LabelFreeScore, recwarn: pytest.WarningsRecorder
) -> None:
    runs = with_agreement(finished({**SCORES}), 0.8, 0.9, 0.8, 0.9)
    corruption = {"corruption": {"kind": "contrast", "severity": 2}}
    choose([(point, results | corruption) for point, results in runs], score)
    said = [str(w.message) for w in recwarn if "experts themselves may be poor" in str(w.message)]
    assert len(said) == (score == "agreement")


def test_nothing_is_chosen_where_nothing_was_measured() -> None:
    assert choose(finished(dict.fromkeys(SCORES))) is None
    assert choose([]) is None


def test_another_choice_than_before_is_said(tmp_path: Path) -> None:
    path = tmp_path / "chosen.json"
    earlier = {"model.merge.router_depth": "1", "seed_everything": "1", "folder": "out/1-1"}
    path.write_text(json.dumps({**earlier, "information": 0.7}))  # of a version that chose a point
    chosen = choose(finished({**SCORES}))
    assert chosen is not None
    assert write_choice(path, chosen) == ""  # the same setting
    other = choose(finished({("3", "0"): 0.99}))
    assert other is not None
    assert write_choice(path, other) == "The earlier choice was out/1-0."


def test_the_points_of_the_chosen_setting_are_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_sweep(tmp_path, *JOB, "--choose")
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if "│" in line]
    marked = [row for row in rows if "←" in row]
    assert [row.split("│")[1].strip() for row in marked] == ["0.2", "0.2", "0.2"]
    assert [cell.strip() for cell in marked[-1].split("│")[2:-1]] == [
        "2",
        "20.0 ± 0.0",
        "80.0 ± 0.0 ←",
    ]  # of the setting, below its points
    assert (
        "← Chosen by the largest information, for which no label is needed: scaling 0.2 "
        "(information 80.0 ± 0.0, the mean of 2 seeds)."
    ) in out
    assert not re.search("The earlier choice", out)

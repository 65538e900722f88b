"""The table to the cell, and a run's page."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from wemoe_pl.reporting.summary import (
    accuracy_columns,
    accuracy_table,
    summary_page,
    write_summary,
)
from wemoe_pl.system.console import Console

RESULTS = {
    "suite": "tiny",
    "method": "WEMoE",
    "tasks": ["cars", "mnist"],
    "accuracy": {"cars": 0.6, "mnist": 0.95},
    "reference": {
        "pretrained": {"cars": 0.5, "mnist": 0.25},
        "task_arithmetic": {"cars": 0.55, "mnist": 0.5},
        "individual": {"cars": 0.8, "mnist": 1.0},
    },
}
WHOLE = RESULTS | {
    "note": "Rendered images.",
    "corruption": {"kind": "motion_blur", "severity": 2},
    "calibration_error": {"cars": 0.125, "mnist": 0.0625},
    "information": {"cars": 0.25, "mnist": 0.75, "unlabelled": 0.5},
    "diversity": {"cars": 0.5, "mnist": 1.0, "unlabelled": 0.6},
    "unknown_task": {
        "entropy": {
            "accuracy": {"cars": 0.3, "mnist": 0.7},
            "mean": 0.5,
            "task_accuracy": {"cars": 0.4, "mnist": 0.8},
        },
        "routing": {"accuracy": {}, "mean": None, "task_accuracy": {}},
    },
    "parameters": {"total": 1234567, "trainable": 890},
    "seconds": {"build": 0.25, "fit": 61.04},
    "versions": {"wemoe_pl": "1.2.3", "torch": "2.6"},
    "revision": "0123abc-dirty",
    "command": "wemoe-pl fit --config adapt_miniature",
    "seed": 7,
    "sources": {"pretrained": {"source": "a|b/file", "sha256": "0123456789abcdef" * 4}},
    "guard": {"action": "restore", "collapsed": {"cars": 40}, "restored_step": 30},
}
PAGE = """\
# WEMoE on tiny

> Rendered images.

> The mean accuracies leave out unlabelled, whose images have no labels.

> The test images are corrupted: motion_blur of severity 2.

## Accuracy, %

| task | pretrained | task arithmetic | WEMoE | individual |
| --- | ---: | ---: | ---: | ---: |
| cars | 50.0 | 55.0 | 60.0 | 80.0 |
| mnist | 25.0 | 50.0 | 95.0 | 100.0 |
| unlabelled | – | – | – | – |
| mean | 37.5 | 52.5 | 77.5 | 90.0 |
| normalized mean | 43.8 | 59.4 | 85.0 | 100.0 |

Pretrained is the model before any fine-tuning, and individual is every expert on its own task. \
The normalized mean is the mean of the accuracies, each divided by that of its expert.

## Calibration

| task | calibration error, % |
| --- | ---: |
| cars | 12.5 |
| mnist | 6.2 |
| unlabelled | – |
| mean | 9.4 |

Calibration error is the distance between confidence and accuracy, on average over 15 bins of \
confidence: it is 0 if, of the answers given with a confidence of 80 %, for example, 80 % are \
right.

## Without labels

| task | information, % | classes predicted, % |
| --- | ---: | ---: |
| cars | 25.0 | 50.0 |
| mnist | 75.0 | 100.0 |
| unlabelled | 50.0 | 60.0 |
| mean | 50.0 | 70.0 |

Information is what the predictions tell about the images: 100 when all are certain and all \
classes are equally frequent, 0 when all images get the same answer. Classes predicted is the \
share of a task's classes that its predictions spread over.

## When the task is not known

| task | right task by entropy, % | right class by entropy, % |
| --- | ---: | ---: |
| cars | 40.0 | 30.0 |
| mnist | 80.0 | 70.0 |
| unlabelled | – | – |
| mean | 60.0 | 50.0 |

## Size and time

- Parameters of the encoder: 1,234,567, of which 890 trainable
- Seconds: build 0.2, fit 61.0

## How it was made

```
wemoe-pl fit --config adapt_miniature
```

- Seed: 7
- Git revision: 0123abc-dirty
- Versions: wemoe_pl 1.2.3, torch 2.6
- The predictions for cars began to collapse at step 40
- At the end the state of step 30 was restored, which was the best by information, a score \
without labels

| part | source | SHA-256 |
| --- | --- | --- |
| pretrained | a\\|b/file | `0123456789ab` |

## Pictures

![accuracy](accuracy.png)

![routing share](routing_share.png)
"""


def rows(results: dict[str, Any]) -> list[list[str]]:
    """The cells of the table as it is printed, without its frame."""
    page = StringIO()
    Console(file=page, width=200).print(accuracy_table(results))
    lines = [line.replace("┃", "│").strip("│ \n") for line in page.getvalue().splitlines()]
    return [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]


def test_the_table_has_a_row_per_task_a_column_per_method_and_means() -> None:
    assert rows(RESULTS) == [
        ["task", "pretrained", "task arithmetic", "WEMoE", "individual"],
        ["cars", "50.0", "55.0", "60.0", "80.0"],
        ["mnist", "25.0", "50.0", "95.0", "100.0"],
        ["mean", "37.5", "52.5", "77.5", "90.0"],
        ["normalized mean", "43.8", "59.4", "85.0", "100.0"],
    ]


def test_a_task_without_expert_has_a_dash() -> None:
    reference = {**RESULTS["reference"], "individual": {"mnist": 1.0}}  # type: ignore[dict-item]
    table = rows({**RESULTS, "reference": reference})
    assert table[1] == ["cars", "50.0", "55.0", "60.0", "–"]
    assert table[-1] == ["normalized mean", "25.0", "50.0", "95.0", "100.0"]


def test_a_task_whose_expert_seems_to_guess_is_named() -> None:
    sizes = {"classes": {"cars": 3, "mnist": 10}, "images": {"cars": 30, "mnist": 30}}
    reference: Any = WHOLE["reference"]
    guessing = {**reference, "individual": {"cars": 0.33, "mnist": 0.2}}
    sentence = (
        "> The own expert of cars is hardly better than guessing: check that the classes of its "
        "images are in the order of its head."
    )
    assert sentence in summary_page({**WHOLE, **sizes, "reference": guessing}, [])
    few = {"classes": sizes["classes"], "images": {"cars": 5, "mnist": 5}}
    assert sentence not in summary_page({**WHOLE, **few, "reference": guessing}, [])
    assert sentence not in summary_page({**WHOLE, **sizes}, [])


def test_a_task_whose_expert_is_never_right_is_named_as_left_out() -> None:
    reference = {**RESULTS["reference"], "individual": {"cars": 0.0, "mnist": 1.0}}  # type: ignore[dict-item]
    results = {**WHOLE, "reference": reference}
    table = rows(results)
    assert table[-1] == ["normalized mean", "25.0", "50.0", "95.0", "100.0"]
    sentence = "The normalized mean leaves out cars, where the task's own expert is never right."
    page = StringIO()
    Console(file=page, width=200).print(accuracy_table(results))
    assert sentence in " ".join(page.getvalue().split())
    assert f"> {sentence}\n" in summary_page(results, [])
    assert "leaves out" not in summary_page(WHOLE, [])


@pytest.mark.parametrize(
    ("method", "own", "titles"),
    [
        ("Pretrained", "pretrained", ["task arithmetic", "pretrained", "individual"]),
        ("TaskArithmetic", "task_arithmetic", ["pretrained", "task arithmetic", "individual"]),
        ("Individual", "individual", ["pretrained", "task arithmetic", "individual"]),
    ],
)
def test_a_method_that_is_a_reference_itself_has_one_column(
    method: str, own: str, titles: list[str]
) -> None:
    accuracy = RESULTS["reference"][own]  # type: ignore[index]
    table = rows({**RESULTS, "method": method, "accuracy": accuracy})
    assert table[0] == ["task", *titles]
    column = table[0].index(own.replace("_", " "))
    assert [row[column] for row in table[1:3]] == [
        f"{100 * value:.1f}" for value in accuracy.values()
    ]
    assert table[-1][0] == "normalized mean"


@pytest.mark.parametrize("own", ["task_arithmetic", None])
def test_results_say_themselves_which_reference_they_are(own: str | None) -> None:
    for method in ("Mine", "TaskArithmetic"):
        columns = accuracy_columns({**RESULTS, "method": method, "own_reference": own})
        others = ["pretrained", "individual"] if own else ["pretrained", "task arithmetic"]
        # A class of one's own that is called as one of ours has a column of its own.
        title = "task arithmetic" if own and method == "TaskArithmetic" else method
        assert (title in columns, method in columns) == (True, method == title)
        assert ("task arithmetic" in columns) == (own is None or title == "task arithmetic")
        assert set(others) < set(columns)


@pytest.mark.parametrize("compared", [False, True])
def test_a_run_without_labels_has_a_table_all_the_same(compared: bool) -> None:
    reference: dict[str, Any] = {name: {} for name in RESULTS["reference"]} if compared else {}
    page = StringIO()
    nothing = {**RESULTS, "tasks": [], "accuracy": {}, "reference": reference}
    Console(file=page, width=80).print(accuracy_table(nothing))
    assert "Accuracy on tiny, %" in page.getvalue()
    assert "cars" not in page.getvalue()


def test_without_references_only_the_method_is_shown() -> None:
    assert rows({**RESULTS, "reference": {}}) == [
        ["task", "WEMoE"],
        ["cars", "60.0"],
        ["mnist", "95.0"],
        ["mean", "77.5"],
    ]


def test_the_note_of_a_suite_stands_below_its_table() -> None:
    page = StringIO()
    Console(file=page, width=80).print(accuracy_table({**RESULTS, "note": "Rendered images."}))
    assert page.getvalue().splitlines()[-1].strip() == "Rendered images."


def test_the_title_is_on_one_line() -> None:
    page = StringIO()
    Console(file=page, width=80).print(accuracy_table({**RESULTS, "reference": {}}))
    assert "Accuracy on tiny, %" in page.getvalue()


def test_the_page_of_a_run_says_all_that_its_results_hold(tmp_path: Path) -> None:
    figures = ["accuracy.png", "routing_share.png"]
    assert summary_page(WHOLE, figures) == PAGE
    write_summary(tmp_path / "summary.md", WHOLE, figures)
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == PAGE
    assert [path.name for path in tmp_path.iterdir()] == ["summary.md"]


def test_the_page_has_no_heading_above_nothing() -> None:
    known = ("parameters", "seconds", "versions", "seed")
    nothing: dict[str, Any] = {
        "tasks": [],
        "accuracy": {},
        "reference": {},
        "sources": {},
        "revision": None,
    }
    quiet: dict[str, Any] = {"guard": {"action": "warn", "collapsed": {}, "restored_step": None}}
    results = {"suite": "tiny", "method": "TIES"} | {key: WHOLE[key] for key in known}
    assert summary_page(results | nothing | quiet, []) == (
        "# TIES on tiny\n\n"
        "## Size and time\n\n"
        "- Parameters of the encoder: 1,234,567, of which 890 trainable\n"
        "- Seconds: build 0.2, fit 61.0\n\n"
        "## How it was made\n\n"
        "- Seed: 7\n"
        "- Versions: wemoe_pl 1.2.3, torch 2.6\n"
    )


def test_columns_are_those_of_the_table_in_its_order() -> None:
    columns = accuracy_columns(RESULTS)
    assert ["task", *columns] == rows(RESULTS)[0]
    assert columns["task arithmetic"] == {"cars": 0.55, "mnist": 0.5}
    assert columns["WEMoE"] == {"cars": 0.6, "mnist": 0.95}


def test_names_and_notes_are_only_text() -> None:
    named = {"<b>cars</b>": 0.5, "[x](http://a.b)": 0.25}
    results = WHOLE | {
        "suite": "![](http://a.b/c.png)",
        "tasks": list(named),
        "accuracy": named,
        "reference": {},
        "note": "<script>",
        "command": "wemoe-pl fit --out '\n```\n# evil'",
        "run": {"history": ["# *evil*"]},
    }
    page = summary_page(results, [])
    assert re.search(r"^# WEMoE on !\\\[\\\]\(http", page)
    assert "> \\<script\\>" in page
    assert r"| \<b\>cars\</b\> | 50.0 |" in page
    assert r"| \[x\](http://a.b) | 25.0 |" in page
    assert "\n````\nwemoe-pl fit --out '\n```\n# evil'\n````\n" in page
    assert r"- \# \*evil\*" in page

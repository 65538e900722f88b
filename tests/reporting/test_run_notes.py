"""What must be read beside scores: of which images they are, and what was adapted on."""

from pathlib import Path

import pytest

from wemoe_pl.reporting.run_notes import notes_on_run
from wemoe_pl.reporting.scored_runs import ScoredRun
from wemoe_pl.reporting.table_notes import stream_note

RENDER = {"seed": 7, "images": 2000}


@pytest.mark.parametrize(
    ("about", "notes"),
    [
        ({}, []),
        ({"note": "", "render": None, "stream": "", "partial": None}, []),
        (
            {"note": "Rendered.", "render": RENDER, "stream": "Adapted on 5 images of every task."},
            [
                "Rendered.",
                "Scored on 2000 images of every task, rendered from seed 7 and not used for "
                "adaptation.",
                "Adapted on 5 images of every task.",
            ],
        ),
    ],
)
def test_what_is_unusual_about_the_images_is_said(
    about: dict[str, object], notes: list[str]
) -> None:
    assert notes_on_run(about) == notes


def ends(**after: float) -> dict[str, object]:
    """A fit that begins with an information of 0.75 about all tasks."""
    scores = {"before": dict.fromkeys(after, 0.75), "after": after}
    return {
        "adaptation": {
            end: {"step": 0, "scores": {"information": of_tasks}}
            for end, of_tasks in scores.items()
        }
    }


def test_what_adaptation_made_worse_is_said() -> None:
    [note] = notes_on_run(ends(cars=0.5, dtd=0.9, mnist=0.7, svhn=0.625))
    assert note == (
        "Adaptation has lost information about the images of cars (from 0.75 to 0.50), svhn (from "
        "0.75 to 0.62): take a smaller model.learning_rate, or add robust.yaml."
    )
    assert notes_on_run(ends(cars=0.7, dtd=1.0)) == notes_on_run({"adaptation": {}}) == []


def run(**results: object) -> ScoredRun:
    return ScoredRun(Path(), {"suite": "tiny", "tasks": ["dtd"], "accuracy": {}, **results}, {})


def test_runs_of_other_renders_are_in_other_tables() -> None:
    earlier, usual, fresh = run(), run(render=None), run(render=RENDER)
    assert earlier.experiment == usual.experiment != fresh.experiment


def test_a_stream_that_all_runs_share_is_told_below_their_table() -> None:
    few, all_images, static = run(stream="Few."), run(stream=""), run()
    assert stream_note([few, few, static]) == "Few."
    assert stream_note([few, all_images]) == ""  # the rows tell them apart
    assert stream_note([static]) == ""

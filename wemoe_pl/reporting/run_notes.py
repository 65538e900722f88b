"""Sentences that must be read beside the scores of a run: what its images and means are."""

from collections.abc import Mapping
from typing import Any

from wemoe_pl.reporting.without_labels import unlabelled_note
from wemoe_pl.training.metrics import never_right

# An accuracy of 1.2 times that of a guess is told apart from it by so many images at least.
LIKE_A_GUESS, FEWEST_IMAGES = 1.2, 20


def notes_on_run(results: Mapping[str, Any]) -> list[str]:
    """Say what the images are, which were scored, and which were adapted on, if that is unusual."""
    notes = (results.get("note"), render_note(results), results.get("stream"))
    return list(filter(None, [*notes, results.get("partial")]))


def render_note(results: Mapping[str, Any]) -> str:
    """Say from which seed the test images were rendered, if not from that of their suite.

    >>> render_note({"render": {"seed": 7, "images": 2000}})
    'Scored on 2000 images of every task, rendered from seed 7 and never adapted on.'
    """
    if not (render := results.get("render")):
        return ""
    return (
        f"Scored on {render['images']} images of every task, rendered from seed {render['seed']} "
        "and never adapted on."
    )


def notes_on_means(results: Mapping[str, Any]) -> list[str]:
    """Say which tasks have no part in the means of a run, or a doubtful one, and why."""
    notes = (unlabelled_note(results), left_out_note(results), guessing_note(results))
    return list(filter(None, notes))


def left_out_note(results: Mapping[str, Any]) -> str:
    """Say which tasks have no part in the normalized mean; nothing if all have.

    >>> left_out_note({"reference": {"individual": {"mnist": 0.9, "dtd": 0.0}}})
    'The normalized mean is without dtd, where the own expert is never right.'
    """
    tasks = never_right(results.get("reference", {}).get("individual", {}))
    if not tasks:
        return ""
    named = ", ".join(tasks)
    return f"The normalized mean is without {named}, where the own expert is never right."


def guessing_note(results: Mapping[str, Any]) -> str:
    """Name the tasks whose own expert is hardly ever right; nothing if there is none.

    The likely reason is a head whose classes are in another order than those of the images.

    >>> results = {"reference": {"individual": {"cars": 0.34, "mnist": 0.9}}}
    >>> results |= {"classes": {"cars": 3, "mnist": 10}, "images": {"cars": 90, "mnist": 90}}
    >>> guessing_note(results)[:62]
    'The own expert of cars is right hardly more often than a guess'
    """
    classes, images = results.get("classes", {}), results.get("images", {})
    guessing = [
        task
        for task, accuracy in results.get("reference", {}).get("individual", {}).items()
        if images.get(task, 0) >= FEWEST_IMAGES
        and classes.get(task, 0) > 1
        and accuracy * classes[task] <= LIKE_A_GUESS
    ]
    if not guessing:
        return ""
    return (
        f"The own expert of {', '.join(guessing)} is right hardly more often than a guess: are "
        "the classes of its images in the order of its head?"
    )


def corruption_of(results: Mapping[str, Any]) -> str:
    """Say what was done to the images; nothing for clean ones."""
    corruption = results.get("corruption")
    return f"{corruption['kind']} of severity {corruption['severity']}" if corruption else ""

"""Write the notes that belong to the scores of a run: on its images and on its means."""

from collections.abc import Mapping
from typing import Any

from wemoe_pl.reporting.without_labels import unlabelled_note
from wemoe_pl.training.metrics import never_right
from wemoe_pl.training.shown_metrics import INFORMATION

# An expert up to 1.2 times as accurate as a guess is noted, if enough images were scored to tell.
LIKE_A_GUESS, FEWEST_IMAGES = 1.2, 20
# A fall of the information about a task's images, from 0 to 1, that no sample of images explains.
LARGEST_FALL = 0.1


def notes_on_run(results: Mapping[str, Any]) -> list[str]:
    """Return notes on the images, the stream and the part that was scored, if they are unusual."""
    notes = (results.get("note"), render_note(results), results.get("stream"))
    return list(filter(None, [*notes, results.get("partial"), lost_information_note(results)]))


def render_note(results: Mapping[str, Any]) -> str:
    """Return a note on the seed that test images were rendered from, if it is not the suite's.

    >>> render_note({"render": {"seed": 7, "images": 2000}})
    'Scored on 2000 images of every task, rendered from seed 7 and not used for adaptation.'
    """
    if not (render := results.get("render")):
        return ""
    return (
        f"Scored on {render['images']} images of every task, rendered from seed {render['seed']} "
        "and not used for adaptation."
    )


def lost_information_note(results: Mapping[str, Any]) -> str:
    """Return a note on the tasks that adaptation made worse, as far as can be told without labels.

    >>> score = lambda value: {"step": 0, "scores": {"information": {"cars": value, "dtd": 0.5}}}
    >>> lost_information_note({"adaptation": {"before": score(0.75), "after": score(0.5)}})[:67]
    'Adaptation has lost information about the images of cars (from 0.75'
    """
    ends = results.get("adaptation")
    if not ends:
        return ""
    before, after = (ends[end]["scores"].get(INFORMATION.result, {}) for end in ("before", "after"))
    lost = [
        f"{task} (from {value:.2f} to {after[task]:.2f})"
        for task, value in before.items()
        if after.get(task, value) < value - LARGEST_FALL
    ]
    if not lost:
        return ""
    return (
        f"Adaptation has lost information about the images of {', '.join(lost)}: take a smaller "
        "model.learning_rate, or add robust.yaml."
    )


def notes_on_means(results: Mapping[str, Any]) -> list[str]:
    """Return notes on tasks that the means of a run leave out, or whose scores are doubtful."""
    notes = (unlabelled_note(results), left_out_note(results), guessing_note(results))
    return list(filter(None, notes))


def left_out_note(results: Mapping[str, Any]) -> str:
    """Return a note on the tasks that the normalized mean leaves out; "" if it has all tasks.

    >>> left_out_note({"reference": {"individual": {"mnist": 0.9, "dtd": 0.0}}})
    "The normalized mean leaves out dtd, where the task's own expert is never right."
    """
    tasks = never_right(results.get("reference", {}).get("individual", {}))
    if not tasks:
        return ""
    named = ", ".join(tasks)
    return f"The normalized mean leaves out {named}, where the task's own expert is never right."


def guessing_note(results: Mapping[str, Any]) -> str:
    """Return a note on the tasks whose own expert is hardly better than a guess; "" if none is.

    The likely reason is a head whose classes are in another order than those of the images.

    >>> results = {"reference": {"individual": {"cars": 0.34, "mnist": 0.9}}}
    >>> results |= {"classes": {"cars": 3, "mnist": 10}, "images": {"cars": 90, "mnist": 90}}
    >>> guessing_note(results)[:53]
    'The own expert of cars is hardly better than guessing'
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
        f"The own expert of {', '.join(guessing)} is hardly better than guessing: check that the "
        "classes of its images are in the order of its head."
    )


def corruption_of(results: Mapping[str, Any]) -> str:
    """Return the corruption of the test images in words; "" for clean images."""
    corruption = results.get("corruption")
    return f"{corruption['kind']} of severity {corruption['severity']}" if corruption else ""

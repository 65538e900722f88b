"""List the names that `wemoe-pl bench` takes, without importing torch."""

from collections.abc import Iterable

RANDOM_MEASURES = ("layer", "forms", "ways", "limits", "memory", "encoder", "build", "plan")
SERVE = "serve"  # the measure of a run's own model
BENCH_MEASURES = (*RANDOM_MEASURES, SERVE)
# The names of the models whose sizes are used.
BENCH_SHAPES = ("vitb32", "vitb16", "vitl14", "miniature")
BENCH_NOTE = (
    "Weights and images are random, so this measures times and sizes, not accuracy. Ratios are "
    "relative to the plain model."
)
SERVE_NOTE = (
    "Accuracy is that of some of the suite's own test images, whose tasks are known, and the worst "
    "task is the one that loses most against routing per image. Ratios are relative to the last "
    "row, a plain model."
)


def note_on(measures: Iterable[str]) -> str:
    """Say what the figures of some measures are of."""
    asked = set(measures)
    notes = [BENCH_NOTE] if asked - {SERVE} else []
    return " ".join([*notes, *([SERVE_NOTE] if SERVE in asked else [])])

"""The pictures that a scored run leaves in its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wemoe_pl.reporting.analysis import write_routing
from wemoe_pl.reporting.plots.figures import plot_accuracy, plot_adaptation, plot_confusion
from wemoe_pl.reporting.summary import accuracy_columns
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.shown_metrics import CURVES


def write_pictures(
    out: Path,
    module: MultiTaskModule,
    results: Mapping[str, Any],
    curves: Mapping[str, Mapping[int, float]],
) -> list[Path]:
    """Draw accuracy, curves, routing and the confusion of the worst task, as far as there are any.

    Args:
        out: the folder of the run.
        module: what was scored.
        results: of `results.json`.
        curves: what was logged, by metric and step.

    Returns:
        The PNG files; each has an SVG of the same name beside it.
    """
    title = f"{results['method']} on {results['suite']}"
    written = []
    if results["accuracy"]:
        written.append(out / "accuracy.png")
        plot_accuracy(written[-1], accuracy_columns(results), title)
    if not curves.keys().isdisjoint(CURVES):
        written.append(out / "adaptation.png")
        only = results.get("curves")  # of which part of the images they are, if not of all
        plot_adaptation(written[-1], curves, f"{title}\n{only}" if only else title)
    if module.routing:
        about = f"Routing of {title}"
        paths = write_routing(out, module.routing, list(module.suite.experts), about)
        written += [path for path in paths if path.suffix == ".png"]
    if results["accuracy"]:
        worst = min(results["accuracy"], key=lambda task: results["accuracy"][task])
        counts = module.scores.confusion()[worst]
        written.append(out / "confusion.png")
        about = f"{title}: confusion on {worst}, the task of least accuracy"
        plot_confusion(written[-1], counts, module.classifier.head(worst).classes, about)
    return written

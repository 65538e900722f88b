"""Draw the plots of the reference, each by calling the class that it shows.

`conf.py` has them drawn before a build, into `docs/reference/plots/`. Their background is
transparent and their text grey, so that they can be read on a light page and on a dark one.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

import wemoe_pl
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.moe.compression import Compression
from wemoe_pl.reporting.plots.style import COLOURS
from wemoe_pl.training.objectives.base import Objective

GREY = "#858585"
LOOK = {
    "axes.edgecolor": GREY, "axes.labelcolor": GREY, "axes.spines.right": False,
    "axes.spines.top": False, "axes.titlecolor": GREY, "axes.titlesize": 9, "font.size": 9,
    "legend.frameon": False, "legend.labelcolor": GREY, "savefig.transparent": True,
    "svg.hashsalt": "wemoe_pl", "text.color": GREY, "xtick.color": GREY, "ytick.color": GREY,
}  # fmt: skip
WIDTH = 5.2  # inches; a phone shows this in letters that can still be read
LAYER = "blocks.2.mlp.fc1"


def write_plots(folder: Path) -> None:
    """Write a picture, `NAME.svg`, for every public name that has one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PLOTS.items():
        with style.context(["default", LOOK]):
            draw().savefig(folder / f"{name}.svg", metadata={"Date": None})


def panels(rows: int, columns: int, height: float, **options: bool) -> tuple[Figure, list[Axes]]:
    """Make a figure with a grid of panels, whose height is in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, [*figure.subplots(rows, columns, squeeze=False, **options).flat]


def gates() -> Figure:
    """Draw the routing weights that six gates make of the same scores."""
    scores = torch.tensor([[0.9, 0.6, 0.3, 0.1, -0.2]])
    kinds: dict[str, dict[str, float]] = {
        "as they are": {},
        "softmax": {"softmax": True},
        "softmax,\ntemperature 0.25": {"softmax": True, "temperature": 0.25},
    }
    figure, axes = panels(2, 3, 3.2, sharex=True, sharey=True)
    for place, axis in enumerate(axes):
        title, options = [*kinds.items()][place % 3]
        top_k = 2 if place >= 3 else None
        weights = wemoe_pl.Gate(top_k=top_k, **options)(scores)[0]
        axis.bar(range(1, 6), weights.numpy(), color=COLOURS[place % 3])
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.set_title(f"{title}\ntop_k 2" if top_k else title)
    figure.supxlabel("expert", fontsize=9)
    figure.supylabel("routing weight", fontsize=9)
    return figure


def dictionaries() -> Figure:
    """Draw the error of task vectors against their size, for the four forms of a dictionary."""
    base, experts = layer_weights()
    exact = torch.stack([expert - base for expert in experts])
    forms: dict[str, list[Compression]] = {
        "Dense": [wemoe_pl.Dense(), wemoe_pl.Dense("bfloat16")],
        "Quantised": [wemoe_pl.Quantised()],
        "Pruned": [wemoe_pl.Pruned(ratio=ratio) for ratio in (0.98, 0.95, 0.9, 0.8, 0.6)],
        "LowRank": [wemoe_pl.LowRank(rank=rank) for rank in (2, 4, 8, 16, 32, 64)],
    }
    figure, [axis] = panels(1, 1, 2.8)
    for place, (name, kinds) in enumerate(forms.items()):
        sizes, errors = [], []
        for kind in kinds:
            stored = kind.store(base, experts.__getitem__, len(experts))
            size = sum(t.numel() * t.element_size() for t in stored.state_dict().values())
            sizes.append(100 * size / (4 * exact.numel()))
            errors.append(100 * float((stored.mix(torch.eye(len(experts))) - exact).norm()))
        errors = [error / float(exact.norm()) for error in errors]
        axis.plot(sizes, errors, marker="os^D"[place], color=COLOURS[place], label=name)
    axis.set(xlabel="size, % of single precision", ylabel="relative error, %", xscale="log")
    axis.set_xticks([5, 10, 25, 50, 100], ["5", "10", "25", "50", "100"])
    axis.minorticks_off()
    axis.legend()
    return figure


@cache
def layer_weights() -> tuple[Tensor, list[Tensor]]:
    """Return a matrix of the miniature: the pretrained one, and those of its eight experts."""
    suite = wemoe_pl.read_suite("miniature")
    experts = [expert[f"{LAYER}.weight"].float() for expert in suite.load_experts().values()]
    return suite.open_pretrained()[f"{LAYER}.weight"].float(), experts


def module_of(weight: Tensor) -> nn.Module:
    """Return a module that has one matrix as its only parameter."""
    linear = nn.Linear(*reversed(weight.shape), bias=False)
    linear.weight.data.copy_(weight)
    return linear


def merged_vector(method: MergeMethod, base: Tensor, experts: list[Tensor]) -> Tensor:
    """Return what a method adds to a matrix, from the matrices of experts."""
    modules = {str(place): module_of(expert) for place, expert in enumerate(experts)}
    merged = method.merge(module_of(base), modules).state_dict()
    return merged["weight"] - base


def spectrum(method: MergeMethod) -> Figure:
    """Draw the singular values of a layer's merged task vector, and those of the plain sum."""
    base, experts = layer_weights()
    vectors = {
        "the sum of the task vectors": torch.stack(experts).sum(dim=0) - len(experts) * base,
        method.label: merged_vector(method, base, experts),
    }
    figure, [axis] = panels(1, 1, 2.4)
    looks = [{"color": GREY, "linestyle": "--"}, {"color": COLOURS[0]}]
    for (name, vector), look in zip(vectors.items(), looks, strict=True):
        values = torch.linalg.svdvals(vector)
        axis.plot(range(1, len(values) + 1), values, label=name, **look)
    axis.set(xlabel="number of the singular value", ylabel="singular value", ylim=0)
    axis.legend()
    return figure


def entries(method: MergeMethod) -> Figure:
    """Draw some entries of three task vectors, and what a method makes of them."""
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(1, 1, 20)), rng.normal(size=(3, 1, 20))
    vectors = torch.from_numpy(shared + own).float()
    base = torch.full((1, 20), 20.0)
    merged = merged_vector(method, base, [base + vector for vector in vectors])
    figure, [axis] = panels(1, 1, 2.6)
    places = np.arange(1, 21)
    axis.bar(places, merged[0].numpy(), color=GREY, alpha=0.5, label="merged")
    for number, vector in enumerate(vectors, start=1):
        look = {"color": COLOURS[(0, 1, 2)[number - 1]], "marker": "os^"[number - 1]}
        axis.plot(places, vector[0], markersize=4, linestyle="", label=f"τ{number}", **look)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set(xlabel="parameter", ylabel="change of its value")
    axis.set_xticks([1, 5, 10, 15, 20])
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def losses(
    objectives: Mapping[str, Objective], logits: Tensor, expert: Tensor | None = None
) -> dict[str, list[float]]:
    """Return the loss of each objective for every batch of logits (n, B, C), by label."""
    needed = {} if expert is None else {"expert_logits": expert}
    return {
        label: [float(one(wemoe_pl.AdaptationOutputs("task", batch, needed))) for batch in logits]
        for label, one in objectives.items()
    }


def two_classes(
    objectives: Mapping[str, Objective], expert: float | None = None, top: float | None = None
) -> Figure:
    """Draw objectives of one image and two classes, against the probability of the first class.

    Args:
        objectives: the objectives, by what the legend calls them.
        expert: the probability that the expert gives to the first class, if it is asked.
        top: the loss at which the plot ends.
    """
    probabilities = torch.linspace(0.005, 0.995, 199)
    theirs = None if expert is None else logits_of(torch.tensor([expert]))
    found = losses(objectives, logits_of(probabilities)[:, None], theirs)
    figure, [axis] = panels(1, 1, 2.6)
    for place, (label, values) in enumerate(found.items()):
        look = {"color": COLOURS[place], "linestyle": ["-", "--", ":"][place]}
        axis.plot(probabilities, values, label=label, **look)
    if expert is not None:
        axis.axvline(expert, color=GREY, linewidth=0.8)
        axis.annotate(" expert", (expert, 0.95), xycoords=("data", "axes fraction"), va="top")
    axis.set(xlabel="probability of class 1", ylabel="loss, nats", ylim=(0, top))
    if len(found) > 1:
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def logits_of(probabilities: Tensor) -> Tensor:
    """Return logits (…, 2) of two classes, the first of which has these probabilities (…)."""
    return torch.stack([probabilities.log(), (1 - probabilities).log()], dim=-1)


def two_images() -> Figure:
    """Draw two objectives of a batch of two images, against the answer for either."""
    sides = torch.linspace(0.01, 0.99, 49)
    batches = logits_of(torch.cartesian_prod(sides, sides))
    objectives = (wemoe_pl.Entropy(), wemoe_pl.InformationMaximisation())
    found = losses({type(one).__name__: one for one in objectives}, batches)
    figure, axes = panels(1, 2, 2.8, sharey=True)
    for axis, (title, values) in zip(axes, found.items(), strict=True):
        grid = np.array(values).reshape(len(sides), len(sides)).T
        shown = axis.contourf(sides, sides, grid, levels=np.linspace(-0.7, 0.7, 15))
        axis.set(title=title, xlabel="image 1", aspect="equal")
        axis.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes[0].set_ylabel("image 2")
    figure.colorbar(shown, ax=axes, label="loss, nats", shrink=0.7, ticks=[-0.7, 0, 0.7])
    return figure


def distances() -> Figure:
    """Draw the loss of one feature against its difference from the expert's."""
    differences = torch.linspace(-2.5, 2.5, 101)
    figure, [axis] = panels(1, 1, 2.6)
    for place, distance in enumerate(("l1", "smooth_l1")):
        objective = wemoe_pl.FeatureMatching(distance)
        values = []
        for difference in differences:
            needed = {"features": difference[None, None], "expert_features": torch.zeros(1, 1)}
            values.append(objective(wemoe_pl.AdaptationOutputs("task", torch.zeros(1, 2), needed)))
        axis.plot(differences, values, label=distance, color=COLOURS[place], ls=["-", "--"][place])
    axis.set(xlabel="feature of the model less that of the expert", ylabel="loss", ylim=0)
    axis.legend()
    return figure


TRUSTING = {
    f"trusted_only {str(only).lower()}": wemoe_pl.ExpertLabels(trusted_only=only)
    for only in (True, False)
}
TEMPERATURES = {f"temperature {t:g}": wemoe_pl.Distillation(t) for t in (1.0, 2.0, 4.0)}
BY_ENTRIES = ("SimpleAverage", "TaskArithmetic", "TIES", "DARE", "ModelStock", "Consensus")
BY_SPECTRUM = ("TSVM", "IsoC", "IsoCTS", "CART", "WUDI")
PLOTS: dict[str, Callable[[], Figure]] = {
    "Gate": gates,
    "Quantised": dictionaries,
    **{name: partial(entries, getattr(wemoe_pl, name)()) for name in BY_ENTRIES},
    **{name: partial(spectrum, getattr(wemoe_pl, name)()) for name in BY_SPECTRUM},
    "SVC": partial(spectrum, wemoe_pl.SVC(wemoe_pl.TaskArithmetic())),
    "Entropy": partial(two_classes, {"": wemoe_pl.Entropy()}),
    "InformationMaximisation": two_images,
    "ExpertLabels": partial(two_classes, TRUSTING, expert=0.7, top=4),
    "Distillation": partial(two_classes, TEMPERATURES, expert=0.95, top=4),
    "FeatureMatching": distances,
}

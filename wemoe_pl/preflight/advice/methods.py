"""Judge the methods: a verdict on each that a figure speaks for or against, with the reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.cart import CART
from wemoe_pl.merging.dare import DARE
from wemoe_pl.merging.emr import EMR
from wemoe_pl.merging.fisher import Fisher
from wemoe_pl.merging.iso import IsoC, IsoCTS
from wemoe_pl.merging.lines import LiNeS
from wemoe_pl.merging.mass import MASS
from wemoe_pl.merging.model_stock import ModelStock
from wemoe_pl.merging.regmean import RegMean
from wemoe_pl.merging.regmean_plus_plus import RegMeanPlusPlus
from wemoe_pl.merging.smile import SMILE
from wemoe_pl.merging.spelling import spelled
from wemoe_pl.merging.svc import SVC
from wemoe_pl.merging.switch import TSwitch
from wemoe_pl.merging.tall import Consensus, TALLMasks
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.ties import TIES
from wemoe_pl.merging.tsv import TSVM
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.merging.wudi import WUDI
from wemoe_pl.moe.scaling import DEFAULT_SCALING
from wemoe_pl.preflight.advice.confidence import Confidence
from wemoe_pl.preflight.advice.measures import TaskVectorFigures
from wemoe_pl.preflight.advice.sentences import (
    CONFIDENT,
    NORM_RATIO,
    NORM_RATIO_OF_SUMS,
    REACH,
    under_confident,
)

Judgement = Literal["promising", "doubtful", "open"]
Family = Literal["average", "sum", "spectral", "stock", "routed", "per task", "other"]
STOCK = 0.5  # below it, Model Stock stays nearer to the pretrained model than to the average


class KnownMethod(NamedTuple):
    """A `KnownMethod` is a merge method with published settings, as its config has it.

    Attributes:
        config: the name of the config.
        method: the method.
        family: the family of methods, for all of which the same figures speak.
        source: the paper that describes the method; empty if there is none.
        title: the name of the method, if it is not that of its class.
    """

    config: str
    method: MergeMethod
    family: Family
    source: str
    title: str = ""

    @property
    def name(self) -> str:
        """Return the name of the method in tables."""
        return self.title or spelled(self.method.label)


LEARNED_HEADS = AdaMerging(clamp=True, trains_heads=True)
KNOWN_METHODS = (
    KnownMethod("simple_average", SimpleAverage(), "average", "arXiv 2203.05482"),
    KnownMethod("task_arithmetic", TaskArithmetic(), "sum", "arXiv 2212.04089"),
    KnownMethod("ties", TIES(combine="sum"), "sum", "arXiv 2306.01708"),
    KnownMethod("dare", DARE(), "sum", "arXiv 2311.03099"),
    KnownMethod("consensus", Consensus(), "sum", "arXiv 2405.07813"),
    KnownMethod("model_stock", ModelStock(), "stock", "arXiv 2403.19522"),
    KnownMethod("lines", LiNeS(TaskArithmetic(scaling=1.0)), "other", "arXiv 2410.17146"),
    KnownMethod("svc", SVC(TaskArithmetic()), "spectral", "arXiv 2602.05536"),
    KnownMethod("tsv_m", TSVM(), "spectral", "arXiv 2412.00081"),
    KnownMethod("iso_c", IsoC(alpha=1.5, split_qkv=True), "spectral", "arXiv 2502.04959"),
    KnownMethod("iso_cts", IsoCTS(alpha=1.5, split_qkv=True), "spectral", "arXiv 2502.04959"),
    KnownMethod("cart", CART(), "spectral", "arXiv 2503.22178"),
    KnownMethod("wudi", WUDI(split_qkv=True), "spectral", "arXiv 2503.08099"),
    KnownMethod("fisher", Fisher(), "other", "arXiv 2111.09832"),
    KnownMethod("regmean", RegMean(off_diagonal=0.95), "other", "arXiv 2212.09849"),
    KnownMethod("regmean_plus_plus", RegMeanPlusPlus(), "other", "arXiv 2508.03121"),
    KnownMethod("adamerging_task_wise", AdaMerging("task"), "sum", "arXiv 2310.02575"),
    KnownMethod("adamerging_layer_wise", AdaMerging("layer"), "sum", "arXiv 2310.02575"),
    KnownMethod("symerge", LEARNED_HEADS, "other", "arXiv 2412.19098", "SyMerge"),
    KnownMethod("adapt_vitb32", WEMoE(), "routed", "arXiv 2402.00433"),
    KnownMethod("e_wemoe", EWEMoE(), "routed", "arXiv 2410.21804"),
    KnownMethod("smile", SMILE(), "other", "arXiv 2408.10174"),
    KnownMethod("mass", MASS(), "spectral", "arXiv 2504.05342"),
    KnownMethod("emr", EMR(), "per task", "arXiv 2405.17461"),
    KnownMethod("tall_masks", TALLMasks(), "per task", "arXiv 2405.07813"),
    KnownMethod("t_switch", TSwitch(), "per task", "arXiv 2604.28109"),
    KnownMethod("individual", Individual(), "per task", ""),
)
SMALLER = "try smaller ones (`wemoe-pl sweep --choose`)"


@dataclass(frozen=True)
class Verdict:
    """A `Verdict` says whether a method is promising, and why.

    Args:
        method: the name of the method in tables.
        config: the name of its config.
        judgement: "promising" or "doubtful" if a figure speaks for or against the method at its
            published settings; "open" if none does.
        than: the config of the model that a promising method is expected to surpass.
        figure: the name of the figure that the verdict rests on; empty if it is open.
        reason: the reason, as a sentence.
        source: the paper of the method.
    """

    method: str
    config: str
    judgement: Judgement
    than: str
    figure: str
    reason: str
    source: str


class Reason(NamedTuple):
    """A `Reason` is a judgement with the figure that it rests on, and a sentence."""

    judgement: Judgement
    figure: str
    sentence: str


def judge(
    found: TaskVectorFigures, confidence: Mapping[str, Confidence | str]
) -> Iterator[Verdict]:
    """Yield a verdict on every known method, in the order of docs/methods.md."""
    reasons: dict[Family, Reason] = {
        "average": of_average(found),
        "sum": of_sum(found),
        "spectral": of_spectrum(found, confidence),
        "stock": of_stock(found),
        "routed": of_routing(found),
        "per task": of_masks(found),
        "other": Reason("open", "", "No figure of these speaks for it or against it."),
    }
    for known in KNOWN_METHODS:
        reason = reasons[known.family]
        than = "task_arithmetic" if known.family == "routed" else "pretrained"
        yield Verdict(
            known.name, known.config, reason.judgement, than, reason.figure, reason.sentence,
            known.source,
        )  # fmt: skip


def of_average(found: TaskVectorFigures) -> Reason:
    """Judge averaging, which stays between the experts."""
    reach = found.reach(1 / len(found.tasks))
    sentence = f"It stays between the experts: its reach is {reach:.2f}."
    return Reason("promising", "reach", sentence)


def of_sum(found: TaskVectorFigures) -> Reason:
    """Judge methods that add task vectors times 0.3, or begin to learn from there."""
    reach, ratio = found.reach(DEFAULT_SCALING), found.norm_ratio
    at = f"At its coefficient of {DEFAULT_SCALING}, the reach is {reach:.2f}"
    if reach > REACH:
        sentence = f"{at}, above {REACH:g}: the coefficient is too large, {SMALLER}."
        return Reason("doubtful", "reach", sentence)
    if ratio > NORM_RATIO_OF_SUMS:
        sentence = f"The norm ratio is {ratio:.1f}, above {NORM_RATIO_OF_SUMS:g}."
        return Reason("doubtful", "norm ratio", sentence)
    return Reason("promising", "reach", f"{at}, not above {REACH:g}.")


def of_spectrum(found: TaskVectorFigures, confidence: Mapping[str, Confidence | str]) -> Reason:
    """Judge methods that merge singular values, or inputs that task vectors stand for."""
    ratio, low = f"the norm ratio is {found.norm_ratio:.1f}", under_confident(confidence)
    grounds = []
    if found.norm_ratio > NORM_RATIO:
        grounds.append(f"{ratio}, above {NORM_RATIO:g}")
    if low:
        are = "expert is" if len(low) == 1 else "experts are"
        grounds.append(f"{len(low)} {are} less confident than {CONFIDENT:g}")
    if grounds:
        figure = "norm ratio" if found.norm_ratio > NORM_RATIO else "least confidence"
        return Reason("doubtful", figure, sentence_with(" and ".join(grounds)))
    unknown = "" if confidence else "; confidence was not measured (--images)"
    sentence = sentence_with(f"{ratio}, not above {NORM_RATIO:g}{unknown}")
    return Reason("promising", "norm ratio", sentence)


def sentence_with(text: str) -> str:
    """Return a text with a capital at its beginning and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:]}."


def of_stock(found: TaskVectorFigures) -> Reason:
    """Judge Model Stock, whose formula says how much of the average it keeps."""
    kept = f"By its formula, the mean cosine of {found.shown_mean_cosine} keeps {found.stock:.0%}"
    if found.stock < STOCK:
        sentence = f"{kept} of the average: it stays near the pretrained model."
        return Reason("doubtful", "mean cosine", sentence)
    return Reason("promising", "mean cosine", f"{kept} of the average.")


def of_routing(found: TaskVectorFigures) -> Reason:
    """Judge WEMoE, which routes MLPs and adds up all other task vectors."""
    reach = found.reach_outside(DEFAULT_SCALING)
    at = f"Outside the MLPs, which it does not route, the reach is {reach:.2f}"
    if reach > REACH:
        sentence = (
            f"{at}, above {REACH:g}: add `--config best.yaml`, which routes attention too and "
            "begins at a smaller coefficient."
        )
        return Reason("doubtful", "reach outside MLPs", sentence)
    return Reason("promising", "reach outside MLPs", f"{at}, not above {REACH:g}.")


def of_masks(found: TaskVectorFigures) -> Reason:
    """Judge methods that are told the task, and keep something of every expert."""
    share = found.conflicts[-1]
    kept = "Each task keeps signs, masks or weights of its own"
    sentence = f"{kept}, whatever the {share:.0%} of conflicts."
    return Reason("promising", "sign conflicts", sentence)

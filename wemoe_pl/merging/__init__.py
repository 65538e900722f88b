"""Define the merge methods: small objects that make one encoder of a pretrained one and experts.

A static method returns a frozen encoder. WEMoE and AdaMerging return an encoder whose routers or
coefficients require gradients. All later steps (adapting, scoring, logging) rely only on that.
"""

from wemoe_pl.merging.adamerging import AdaMerging, AdaptiveEncoder
from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.base import NOT_ADAPTED, MergeMethod, blocks_of, checked_method
from wemoe_pl.merging.baselines import Individual, PerTaskEncoder, Pretrained
from wemoe_pl.merging.cart import CART
from wemoe_pl.merging.dare import DARE
from wemoe_pl.merging.emr import EMR
from wemoe_pl.merging.fisher import Fisher
from wemoe_pl.merging.folding import fold, folds
from wemoe_pl.merging.from_samples import SampleMethod, Sums
from wemoe_pl.merging.iso import IsoC, IsoCTS
from wemoe_pl.merging.lines import LiNeS
from wemoe_pl.merging.mass import MASS, MASSEncoder
from wemoe_pl.merging.model_stock import ModelStock
from wemoe_pl.merging.regmean import RegMean
from wemoe_pl.merging.regmean_plus_plus import RegMeanPlusPlus
from wemoe_pl.merging.smile import SMILE
from wemoe_pl.merging.svc import SVC
from wemoe_pl.merging.switch import TSwitch
from wemoe_pl.merging.tall import Consensus, TALLMasks
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.ties import TIES
from wemoe_pl.merging.tsv import TSVM
from wemoe_pl.merging.wemoe import EWEMoE, RouterSharing, WEMoE, part_of, upscale
from wemoe_pl.merging.wudi import WUDI

__all__ = [
    "CART", "DARE", "EMR", "MASS", "NOT_ADAPTED", "SMILE", "SVC", "TIES", "TSVM", "WUDI",
    "AdaMerging", "AdaptiveEncoder", "Consensus", "EWEMoE", "Fisher", "Individual", "IsoC",
    "IsoCTS", "LiNeS", "MASSEncoder", "MergeMethod", "ModelStock", "PerTaskEncoder", "Pretrained",
    "RegMean", "RegMeanPlusPlus", "RouterSharing", "SampleMethod", "SimpleAverage", "Sums",
    "TALLMasks", "TSwitch", "TaskArithmetic", "WEMoE", "blocks_of", "checked_method", "fold",
    "folds", "part_of", "upscale",
]  # fmt: skip

"""The public names in the order of the pipeline, for type checkers and for `__init__.py` alike."""

from .errors import WeMoEError as WeMoEError
from .data.tasks import (
    VisionTask as VisionTask,
    ImageFolderTask as ImageFolderTask,
    ParquetTask as ParquetTask,
    PaperTask as PaperTask,
    InMemoryTask as InMemoryTask,
)
from .data.corruptions.task import Corruption as Corruption, CorruptedTask as CorruptedTask
from .data.miniature import MiniatureTask as MiniatureTask, FreshRender as FreshRender
from .checkpoints import Backbone as Backbone, load_encoder as load_encoder
from .checkpoints.heads import (
    ClassificationHead as ClassificationHead,
    CosineHead as CosineHead,
    LinearHead as LinearHead,
    load_head as load_head,
)
from .checkpoints.zero_shot import TextTower as TextTower
from .data.suite import Suite as Suite
from .data.model_suite import ModelSuite as ModelSuite
from .moe.task_vectors import task_vector as task_vector, add_task_vectors as add_task_vectors
from .moe.dense import Dense as Dense
from .moe.pruned import Pruned as Pruned
from .moe.low_rank import LowRank as LowRank
from .moe.quantised import Quantised as Quantised
from .moe.router import Gate as Gate, Router as Router
from .moe.layers import WeightEnsemblingMoE as WeightEnsemblingMoE
from .moe.attention import WeightEnsemblingAttention as WeightEnsemblingAttention
from .merging.base import MergeMethod as MergeMethod
from .merging.baselines import Pretrained as Pretrained, Individual as Individual
from .merging.average import SimpleAverage as SimpleAverage
from .merging.task_arithmetic import TaskArithmetic as TaskArithmetic
from .merging.ties import TIES as TIES
from .merging.tsv import TSVM as TSVM
from .merging.core_space import CoreSpace as CoreSpace
from .merging.iso import IsoC as IsoC, IsoCTS as IsoCTS
from .merging.cart import CART as CART
from .merging.wudi import WUDI as WUDI
from .merging.emr import EMR as EMR
from .merging.tall import TALLMasks as TALLMasks, Consensus as Consensus
from .merging.switch import TSwitch as TSwitch
from .merging.dare import DARE as DARE
from .merging.model_stock import ModelStock as ModelStock
from .merging.lines import LiNeS as LiNeS
from .merging.svc import SVC as SVC
from .merging.smile import SMILE as SMILE
from .merging.mass import MASS as MASS
from .merging.fisher import Fisher as Fisher
from .merging.regmean import RegMean as RegMean
from .merging.regmean_plus_plus import RegMeanPlusPlus as RegMeanPlusPlus
from .merging.adamerging import AdaMerging as AdaMerging
from .merging.wemoe import WEMoE as WEMoE, EWEMoE as EWEMoE, upscale as upscale
from .merging.folding import fold as fold
from .model.recipe import read_suite as read_suite
from .model.classifier import MultiTaskClassifier as MultiTaskClassifier
from .data.datamodule import TaskData as TaskData, MultiTaskData as MultiTaskData
from .training.lora import LoRA as LoRA
from .training.finetune import (
    ExpertFineTuning as ExpertFineTuning,
    MultiTaskTraining as MultiTaskTraining,
)
from .training.objectives.outputs import AdaptationOutputs as AdaptationOutputs
from .training.objectives.base import Objective as Objective
from .training.objectives.entropy import (
    Entropy as Entropy,
    InformationMaximisation as InformationMaximisation,
)
from .training.objectives.expert_labels import ExpertLabels as ExpertLabels
from .training.objectives.distillation import (
    Distillation as Distillation,
    FeatureMatching as FeatureMatching,
)
from .training.objectives.weighted_sum import WeightedSum as WeightedSum
from .training.objectives.trusted_experts import TrustedExperts as TrustedExperts
from .training.adapt import TestTimeAdaptation as TestTimeAdaptation
from .training.sample_merging import SampleMerging as SampleMerging
from .training.sharding import ShardedDictionary as ShardedDictionary
from .export.loading import load as load
from .export.adapting import adapt as adapt, Adapted as Adapted
from .preflight.advice.advising import advise as advise, Advice as Advice
from .callbacks.progress import StepProgressBar as StepProgressBar
from .reporting.loggers import MetricsFile as MetricsFile
from .reporting.wandb_run import WandbRun as WandbRun

__version__: str
__all__: list[str]

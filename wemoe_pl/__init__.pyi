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
from .merging import (
    MergeMethod as MergeMethod,
    Pretrained as Pretrained,
    Individual as Individual,
    SimpleAverage as SimpleAverage,
    TaskArithmetic as TaskArithmetic,
    TIES as TIES,
    TSVM as TSVM,
    IsoC as IsoC,
    IsoCTS as IsoCTS,
    CART as CART,
    WUDI as WUDI,
    EMR as EMR,
    TALLMasks as TALLMasks,
    Consensus as Consensus,
    TSwitch as TSwitch,
    DARE as DARE,
    ModelStock as ModelStock,
    LiNeS as LiNeS,
    SVC as SVC,
    SMILE as SMILE,
    MASS as MASS,
    Fisher as Fisher,
    RegMean as RegMean,
    RegMeanPlusPlus as RegMeanPlusPlus,
    AdaMerging as AdaMerging,
    WEMoE as WEMoE,
    EWEMoE as EWEMoE,
    upscale as upscale,
    fold as fold,
)
from .model.recipe import read_suite as read_suite
from .model.classifier import MultiTaskClassifier as MultiTaskClassifier
from .data.datamodule import TaskData as TaskData, MultiTaskData as MultiTaskData
from .training.finetune import (
    ExpertFineTuning as ExpertFineTuning,
    MultiTaskTraining as MultiTaskTraining,
)
from .training.objectives import (
    AdaptationOutputs as AdaptationOutputs,
    Objective as Objective,
    Entropy as Entropy,
    InformationMaximisation as InformationMaximisation,
    ExpertLabels as ExpertLabels,
    Distillation as Distillation,
    FeatureMatching as FeatureMatching,
    WeightedSum as WeightedSum,
)
from .training.adapt import TestTimeAdaptation as TestTimeAdaptation
from .training.sample_merging import SampleMerging as SampleMerging
from .training.sharding import ShardedDictionary as ShardedDictionary
from .export.loading import load as load
from .export.adapting import adapt as adapt, Adapted as Adapted
from .callbacks.progress import StepProgressBar as StepProgressBar
from .reporting.loggers import MetricsFile as MetricsFile
from .reporting.wandb_run import WandbRun as WandbRun

__version__: str
__all__: list[str]

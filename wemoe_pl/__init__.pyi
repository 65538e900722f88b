"""The public names in the order of the pipeline, for type checkers and for `__init__.py` alike."""

from .errors import WeMoEError as WeMoEError
from .tasks import (
    VisionTask as VisionTask,
    ImageFolderTask as ImageFolderTask,
    ParquetTask as ParquetTask,
    PaperTask as PaperTask,
)
from .corruptions import Corruption as Corruption, CorruptedTask as CorruptedTask
from .miniature import MiniatureTask as MiniatureTask
from .checkpoints import Backbone as Backbone, load_encoder as load_encoder
from .heads import (
    ClassificationHead as ClassificationHead,
    CosineHead as CosineHead,
    LinearHead as LinearHead,
    load_head as load_head,
)
from .zero_shot import TextTower as TextTower
from .suites import Suite as Suite
from .task_vectors import task_vector as task_vector, add_task_vectors as add_task_vectors
from .dictionaries import Dense as Dense, Pruned as Pruned, LowRank as LowRank
from .moe import Router as Router, WeightEnsemblingMoE as WeightEnsemblingMoE
from .merging import (
    MergeMethod as MergeMethod,
    Pretrained as Pretrained,
    Individual as Individual,
    SimpleAverage as SimpleAverage,
    TaskArithmetic as TaskArithmetic,
    TIES as TIES,
    Fisher as Fisher,
    RegMean as RegMean,
    AdaMerging as AdaMerging,
    WEMoE as WEMoE,
    EWEMoE as EWEMoE,
    upscale as upscale,
    fold as fold,
)
from .classifier import MultiTaskClassifier as MultiTaskClassifier
from .data import TaskData as TaskData, MultiTaskData as MultiTaskData
from .finetune import ExpertFineTuning as ExpertFineTuning, MultiTaskTraining as MultiTaskTraining
from .adapt import TestTimeAdaptation as TestTimeAdaptation
from .sample_merging import SampleMerging as SampleMerging
from .sharding import ShardedDictionary as ShardedDictionary
from .loading import load as load
from .report import StepProgressBar as StepProgressBar
from .loggers import MetricsFile as MetricsFile, WandbRun as WandbRun

__version__: str
__all__: list[str]

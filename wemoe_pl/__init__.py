"""Merge fine-tuned vision transformers into one, by weight-ensembling mixtures of experts."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# The names a user needs, in the order of the pipeline. They are imported when first used, so that
# the command line answers without waiting for torch.
_HOMES = {
    "WeMoEError": "errors",
    "VisionTask": "tasks",
    "ImageFolderTask": "tasks",
    "ParquetTask": "tasks",
    "PaperTask": "tasks",
    "Corruption": "corruptions",
    "CorruptedTask": "corruptions",
    "MiniatureTask": "miniature",
    "Backbone": "checkpoints",
    "load_encoder": "checkpoints",
    "ClassificationHead": "heads",
    "CosineHead": "heads",
    "LinearHead": "heads",
    "load_head": "heads",
    "TextTower": "zero_shot",
    "Suite": "suites",
    "task_vector": "task_vectors",
    "add_task_vectors": "task_vectors",
    "Dense": "dictionaries",
    "Pruned": "dictionaries",
    "LowRank": "dictionaries",
    "Router": "moe",
    "WeightEnsemblingMoE": "moe",
    "MergeMethod": "merging",
    "Pretrained": "merging",
    "Individual": "merging",
    "SimpleAverage": "merging",
    "TaskArithmetic": "merging",
    "TIES": "merging",
    "Fisher": "merging",
    "RegMean": "merging",
    "AdaMerging": "merging",
    "WEMoE": "merging",
    "EWEMoE": "merging",
    "upscale": "merging",
    "fold": "merging",
    "MultiTaskClassifier": "classifier",
    "TaskData": "data",
    "MultiTaskData": "data",
    "ExpertFineTuning": "finetune",
    "MultiTaskTraining": "finetune",
    "TestTimeAdaptation": "adapt",
    "SampleMerging": "sample_merging",
    "ShardedDictionary": "sharding",
    "load": "loading",
    "StepProgressBar": "report",
    "MetricsFile": "loggers",
    "WandbRun": "loggers",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

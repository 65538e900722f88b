"""The spelling of every method in tables, figures and on pages, whatever its class is called."""

import re

# By what `results.json` calls them, where that is not already as one would write it.
SPELLINGS = {
    "Fisher Merging": "Fisher merging",
    "Individual": "individual",
    "Layer-wise AdaMerging": "layer-wise AdaMerging",
    "MultiTaskTraining": "multi-task training",
    "Pretrained": "pretrained",
    "SimpleAverage": "simple averaging",
    "TaskArithmetic": "task arithmetic",
    "Task-wise AdaMerging": "task-wise AdaMerging",
}
SPELLED = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, SPELLINGS))})(?![\w-])")


def spelled(method: str) -> str:
    """Spell the name of a method as it is spelled everywhere.

    Args:
        method: as in `results.json`, with whatever stands before or behind it.

    >>> spelled("TaskArithmetic + LiNeS"), spelled("Layer-wise AdaMerging++, not adapted")
    ('task arithmetic + LiNeS', 'layer-wise AdaMerging++, not adapted')
    >>> spelled("MyTaskArithmetic"), spelled("WEMoE")
    ('MyTaskArithmetic', 'WEMoE')
    """
    return SPELLED.sub(lambda name: SPELLINGS[name[0]], method)

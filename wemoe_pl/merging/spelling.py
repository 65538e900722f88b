"""Spell the names of methods in tables, figures and on pages, whatever their classes are called."""

import re

# The spelling by the name in `results.json`, where the two differ.
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
    """Return the name of a method as tables, figures and pages spell it.

    Args:
        method: the name as in `results.json`, with any text before or after it.

    >>> spelled("TaskArithmetic + LiNeS"), spelled("Layer-wise AdaMerging++, not adapted")
    ('task arithmetic + LiNeS', 'layer-wise AdaMerging++, not adapted')
    >>> spelled("MyTaskArithmetic"), spelled("WEMoE")
    ('MyTaskArithmetic', 'WEMoE')
    """
    return SPELLED.sub(lambda name: SPELLINGS[name[0]], method)

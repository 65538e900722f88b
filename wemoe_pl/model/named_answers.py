"""Answer about images by their names, and say which of them cannot be read."""

from collections.abc import Sequence

from wemoe_pl.data.to_classify import NamedBatch
from wemoe_pl.model.answering import Prediction
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.task_inference import InferenceRule


def named_answers(
    model: MultiTaskClassifier,
    batch: NamedBatch,
    tasks: Sequence[str],
    rule: InferenceRule | None,
) -> list[Prediction]:
    """Answer about every image of a batch, or say why it cannot be read.

    Args:
        model: the classifier that answers.
        batch: the named images; those that can be read are on the model's device.
        tasks: the tasks whose heads answer.
        rule: the rule by which tasks are inferred; None for an answer for every task.

    Returns:
        The answers about each image in order, with its name.
    """
    found = model.answer(batch.images, tasks, rule) if len(batch.images) else []
    answers = iter(found)
    return [
        answer._replace(image=name)
        for name, error in zip(batch.names, batch.errors, strict=True)
        for answer in ([Prediction.unreadable(name, error)] if error else next(answers))
    ]

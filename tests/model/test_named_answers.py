"""Answers have the names of their images, and images that cannot be read have a reason."""

from pathlib import Path

import pytest
import torch

from wemoe_pl.data.to_classify import NamedBatch
from wemoe_pl.export.loading import load
from wemoe_pl.model.answering import Prediction
from wemoe_pl.model.named_answers import named_answers


@pytest.mark.filterwarnings("ignore:The model cannot say that an image belongs to none")
def test_each_image_has_its_own_answers_and_a_torn_one_its_reason(checkpoint: Path) -> None:
    model = load(checkpoint)
    images = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    batch = NamedBatch(0, ["a", "torn", "b"], [None, "it is torn", None], images)
    with torch.inference_mode():
        first, torn, last = named_answers(model, batch, model.tasks, "entropy")
        of_every_task = named_answers(model, batch, model.tasks, None)
    alone = model.predict(images)
    assert [first.image, last.image] == ["a", "b"]
    assert [answer._replace(image=None) for answer in (first, last)] == alone
    assert torn == Prediction.unreadable("torn", "it is torn")
    tasks = [*model.tasks]
    assert [answer.task for answer in of_every_task] == [*tasks, None, *tasks]


def test_a_batch_without_an_image_that_can_be_read_asks_nobody(checkpoint: Path) -> None:
    batch = NamedBatch(0, ["torn"], ["it is torn"], torch.empty(0))
    answers = named_answers(load(checkpoint), batch, ["cars"], None)
    assert answers == [Prediction.unreadable("torn", "it is torn")]

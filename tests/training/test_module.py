"""What `predict` answers, and lean checkpoints."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import lightning as L
import pytest
import torch

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.to_classify import NamedBatch
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.answering import Prediction
from wemoe_pl.training.adapt import TestTimeAdaptation

NewTrainer = Callable[..., L.Trainer]
TASKS = ["cars", "dtd", "mnist"]


@pytest.mark.parametrize("merge", [WEMoE(), TaskArithmetic(), Pretrained(), Individual()])
def test_a_method_goes_by_the_name_of_its_class(tiny_suite: Suite, merge: MergeMethod) -> None:
    assert TestTimeAdaptation(tiny_suite, merge).method == type(merge).__name__


def test_a_checkpoint_holds_what_was_trained_and_what_it_belongs_to(
    tiny_suite: Suite, checkpoint: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    assert content["state_dict"]
    assert all(".router." in name for name in content["state_dict"])
    identity = content["wemoe_pl"]
    assert (identity["method"], identity["sources"]) == ("WEMoE", tiny_suite.sources())
    assert checkpoint.stat().st_size < Path(tiny_suite.pretrained).stat().st_size


def test_a_checkpoint_brings_the_routers_back(
    tiny_suite: Suite, quiet_trainer: NewTrainer, checkpoint: Path
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), references=False)
    quiet_trainer().test(module, MultiTaskData(tiny_suite), ckpt_path=checkpoint, verbose=False)
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    loaded = {name: module.state_dict()[name] for name in saved}
    torch.testing.assert_close(loaded, saved, rtol=0, atol=0)


def test_answers_name_image_task_and_class(tiny_suite: Suite) -> None:
    module = TestTimeAdaptation(tiny_suite, Pretrained())
    module.configure_model()
    cars = MultiTaskData(tiny_suite).sets.load(ImageSet("cars", "test"))
    images = torch.stack([cars[i][0] for i in range(2)])
    batch = NamedBatch(0, ["a.png", "b.png", "c.png"], [None, "damaged", None], images)
    first, damaged, second = (
        list(rows) for _, rows in groupby(module.predict_step(batch, 0), lambda row: row.image)
    )
    assert damaged == [Prediction.unreadable("b.png", "damaged")]
    for place, rows in enumerate((first, second)):
        assert [row.task for row in rows] == TASKS
        for row in rows:
            probabilities = module.classifier(images, str(row.task)).softmax(dim=-1)[place]
            label = tiny_suite.task(str(row.task)).classes.index(str(row.class_name))
            assert label == probabilities.argmax()
            assert row.probability == pytest.approx(probabilities[label].item())
            assert (row.task_confidence, row.error) == (None, None)


def test_a_batch_without_a_readable_image_is_answered_with_the_reasons(tiny_suite: Suite) -> None:
    module = TestTimeAdaptation(tiny_suite, Pretrained())
    module.configure_model()
    batch = NamedBatch(0, ["a.png"], ["damaged"], torch.empty(0))
    assert module.predict_step(batch, 0) == [Prediction.unreadable("a.png", "damaged")]

"""Tensors are known again by what they hold, and not once they are changed or others."""

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.origins import Origins, noted
from wemoe_pl.data.pixel_hashes import Contents
from wemoe_pl.data.streams import Batch, Seen, SeenBatch
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.training.adapt import TestTimeAdaptation

SEEN = Seen("test images of 'dtd'", [4, 2], [1, 2])


def batch_of(images: Tensor) -> Batch:
    return {"dtd": (images, torch.zeros(len(images)))}


@pytest.mark.parametrize("inference", [False, True])
def test_a_tensor_is_known_by_itself_alone(inference: bool) -> None:
    with torch.inference_mode(inference):
        origins, images = Origins(), torch.ones(2, 3)
        origins.note(images, SEEN)
        assert origins.of(images) is SEEN
        assert origins.of(images.clone()) is None
        assert origins.of(images[:1]) is None


def test_a_tensor_that_was_changed_is_unknown() -> None:
    origins, images = Origins(), torch.ones(2, 3)
    origins.note(images, SEEN)
    images[0] = 0
    assert origins.of(images) is None


def test_nothing_is_known_of_tensors_that_are_gone() -> None:
    origins = Origins()
    origins.note(torch.ones(2, 3), SEEN)
    assert len(origins._known) == 0


def test_a_batch_that_moves_stays_known() -> None:
    origins, images = Origins(), torch.ones(2, 3)
    batch = noted(SeenBatch(batch_of(images), [SEEN]), Contents(), origins)
    assert type(batch) is dict
    moved = batch_of(images.clone())
    origins.follow(batch, moved)
    assert origins.of(moved["dtd"][0]) is SEEN


@pytest.mark.parametrize("batch", [{}, {"x": torch.ones(2)}, {"x": (1, 2)}, [1], None, {"n": 3}])
def test_other_batches_are_no_trouble(batch: Any) -> None:
    Origins().follow(batch, batch)


def test_a_batch_without_notes_is_no_trouble() -> None:
    origins, images = Origins(), torch.ones(2, 3)
    assert noted(SeenBatch(batch_of(images)), Contents(), origins)["dtd"][0] is images
    assert origins.of(images) is None


class Looking(TestTimeAdaptation):
    """Notes what is known of the images that a step is given."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        data: MultiTaskData = self.trainer.datamodule  # type: ignore[attr-defined]
        self.found = {task: data.origins.of(images) for task, (images, _) in batch.items()}
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("corruption", [None, Corruption("contrast", 2)])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_step_knows_the_images_that_it_is_given(
    tiny_suite: Suite,
    quiet_trainer: Callable[..., L.Trainer],
    corruption: Corruption | None,
    workers: int,
) -> None:
    module = Looking(tiny_suite, WEMoE(), references=False)
    data = MultiTaskData(tiny_suite, batch_size=3, num_workers=workers, corruption=corruption)
    quiet_trainer(max_steps=1).fit(module, data)
    kind = "corrupted test" if corruption else "test"
    assert module.found.keys() == set(tiny_suite.tasks)
    for task, seen in module.found.items():
        assert seen is not None
        assert seen.name == f"{kind} images of '{task}'"
        assert len(set(seen.places)) == 3

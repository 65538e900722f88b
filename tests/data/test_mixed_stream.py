"""Tasks that come mixed: how many of each, which images, and what cannot be drawn."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.mixed_stream import MixedBatches
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError

SIZE = 20  # images per split and task of the tiny suite
WEIGHTS = {"cars": 6.0, "dtd": 1.0, "mnist": 3.0}


def mixed(suite: Suite, batch_size: int = 4, **options: Any) -> MixedBatches:
    batches = MultiTaskData(suite, batch_size=batch_size, **options).step_batches()
    assert isinstance(batches, MixedBatches)
    return batches


def test_every_step_has_all_images_of_all_tasks_together(tiny_suite: Suite) -> None:
    batches = mixed(tiny_suite, proportions=WEIGHTS)
    sizes = [{t: len(labels) for t, (_, labels) in batches[step].items()} for step in range(30)]
    assert {sum(of_step.values()) for of_step in sizes} == {12}
    assert any(len(of_step) < 3 for of_step in sizes)  # a task without images has no batch
    assert all(min(of_step.values()) > 0 for of_step in sizes)


def test_tasks_come_as_often_as_their_weights_say(tiny_suite: Suite) -> None:
    steps, batches = 2000, mixed(tiny_suite, proportions=WEIGHTS)
    drawn = np.sum([batches.counts(step) for step in range(steps)], axis=0)
    images = 12 * steps
    for count, share in zip(drawn, (0.6, 0.1, 0.3), strict=True):
        assert abs(count - images * share) < 5 * math.sqrt(images * share * (1 - share))


def test_a_step_follows_from_the_seed_alone(tiny_suite: Suite) -> None:
    in_order = mixed(tiny_suite, proportions=WEIGHTS, seed=1)
    steps = [in_order[step] for step in range(8)]
    late = mixed(tiny_suite, proportions=WEIGHTS, seed=1)[7]  # as after a run that was interrupted
    assert list(late) == list(steps[7])
    for task, (images, labels) in late.items():
        assert torch.equal(images, steps[7][task][0])
        assert torch.equal(labels, steps[7][task][1])
    counts = [mixed(tiny_suite, proportions=WEIGHTS, seed=s).counts(0).tolist() for s in range(4)]
    assert len({tuple(c) for c in counts}) > 1


def test_the_images_of_a_task_come_as_they_would_by_themselves(tiny_suite: Suite) -> None:
    batches = mixed(tiny_suite, proportions=WEIGHTS, seed=2)
    plain = MultiTaskData(tiny_suite, batch_size=4, seed=2).step_batches()
    for task in WEIGHTS:
        found = [place for step in range(30) for place in batches.indices(task, step)]
        expected = [place for step in range(90) for place in plain.indices(task, step)]
        assert found == expected[: len(found)]


def test_a_task_without_a_weight_never_comes(tiny_suite: Suite) -> None:
    batches = mixed(tiny_suite, proportions={"cars": 1e308, "mnist": 1e308, "dtd": 0})
    assert {task for step in range(20) for task in batches[step]} == {"cars", "mnist"}
    alone = mixed(tiny_suite, proportions={"dtd": 0.25})
    assert [list(alone[step]) for step in range(3)] == [["dtd"]] * 3


def test_few_images_come_mixed(tiny_suite: Suite) -> None:
    batches = mixed(tiny_suite, proportions=WEIGHTS, images_per_task=2)
    for task in WEIGHTS:
        used = {place for step in range(20) for place in batches.indices(task, step)}
        assert len(used) == 2


@pytest.mark.parametrize(
    ("proportions", "message"),
    [
        (
            {"crs": 1.0},
            "proportions has 'crs', which is none of the tasks of the stream. Did you mean 'cars'?",
        ),
        ({"cars": -1.0}, "proportions.cars is -1.0: give a number from 0."),
        ({"cars": math.nan}, "proportions.cars is nan: give a number from 0."),
        ({"cars": math.inf}, "proportions.cars is inf: give a number from 0."),
        ({"cars": 0.0}, "proportions has no task with a weight above 0: give one, or leave it out"),
        ({}, "proportions has no task with a weight above 0: give one, or leave it out."),
    ],
)
def test_nonsense_is_refused(
    tiny_suite: Suite, proportions: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        MultiTaskData(tiny_suite, proportions=proportions)
    assert str(error.value).startswith(message)


def test_a_step_is_not_split_by_task(tiny_suite: Suite) -> None:
    with pytest.raises(
        ConfigError, match=r"per_batch 2 splits a step by task: leave out one .*\.$"
    ):
        MultiTaskData(tiny_suite, proportions=WEIGHTS, tasks_per_batch=2)


def test_a_step_is_not_shared_by_processes(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite, proportions=WEIGHTS)
    trainer: Any = SimpleNamespace(global_rank=0, world_size=2, lightning_module=None)
    data.trainer = trainer
    with pytest.raises(ConfigError) as error:
        data.setup("fit")
    assert str(error.value) == (
        "data.proportions draws at random how many images of each task a step has, and these do "
        "not split evenly over 2 devices: set trainer.devices to 1."
    )
    data.setup("test")

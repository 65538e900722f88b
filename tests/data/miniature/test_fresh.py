"""Test images that nobody has seen: which they are, and for which tasks there are any."""

import numpy as np
import pytest

from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.datamodule import MultiTaskData, TaskData
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.miniature import FreshRender, MiniatureTask, render_split
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask
from wemoe_pl.errors import ConfigError

FRESH = FreshRender(seed=7, images=30)


def test_only_what_is_scored_is_rendered_anew(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite, test_render=FRESH)
    expected, labels = render_split("dtd", "test", 30, seed=7)
    scored = data.sets.load(data.sets.scored["dtd"]).images
    assert all(np.array_equal(np.asarray(scored[i][0]), expected[i]) for i in range(30))
    assert list(scored.labels) == labels.tolist()
    assert data.sets.streamed["dtd"] == ImageSet("dtd", "test")
    assert len(data.sets.load(data.sets.streamed["dtd"])) == 20


def test_the_images_are_named_and_identified_as_what_they_are(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite, test_render=FRESH)
    identities = data.sets.identities("fit")
    assert identities["fresh test images of 'dtd'"].endswith(", seed 7")
    assert "seed" not in identities["test images of 'dtd'"]


def test_fresh_images_may_be_corrupted(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite, test_render=FRESH, corruption=Corruption("contrast"))
    wanted = data.sets.scored["dtd"]
    assert wanted.name == "corrupted fresh test images of 'dtd'"
    assert len(data.sets.load(wanted)) == 30


def test_one_task_is_scored_on_them_too(tiny_suite: Suite) -> None:
    data = TaskData(tiny_suite, "dtd", test_render=FRESH)
    assert [wanted.render for wanted in data.sets.all] == [None, FRESH]


@pytest.mark.parametrize(
    ("render", "message"),
    [
        (FreshRender(0), "test_render.seed is 0, the seed of the images that 'dtd' has already"),
        (FreshRender(7, 3), "test_render.images is 3: give a number from 10."),
    ],
)
def test_images_that_would_not_be_new_or_too_few_are_refused(
    render: FreshRender, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        render.task("dtd", MiniatureTask("dtd"))
    assert str(error.value).startswith(message)


def test_a_seed_is_a_number_from_zero() -> None:
    with pytest.raises(ConfigError, match=r"^test_render\.seed is -1: give a number from 0\.$"):
        FreshRender(-1)


def test_no_other_task_is_rendered() -> None:
    with pytest.raises(ConfigError) as error:
        FRESH.task("water", ImageFolderTask())
    assert str(error.value) == (
        "test_render renders new images for tasks of the miniature suites, but 'water' is a "
        "ImageFolderTask: leave out test_render, or this task."
    )

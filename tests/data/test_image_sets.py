"""The sets of images that a job streams and scores."""

from dataclasses import replace

from wemoe_pl.data.datamodule import MultiTaskData, TaskData
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.suite import Suite

TASKS = ["cars", "dtd", "mnist"]


def test_the_splits_of_a_job_are_those_that_it_streams_and_those_that_it_scores(
    tiny_suite: Suite,
) -> None:
    scored = [ImageSet(task, "test") for task in TASKS]
    assert MultiTaskData(tiny_suite).sets.all == scored
    train = [ImageSet(task, "train") for task in TASKS]
    assert MultiTaskData(tiny_suite, stream="train").sets.all == train + scored
    dtd = [ImageSet("dtd", "train"), ImageSet("dtd", "test")]
    assert TaskData(tiny_suite, "dtd").sets.all == dtd
    fewer = replace(tiny_suite, experts={"dtd": tiny_suite.experts["dtd"]})
    assert sorted(MultiTaskData(fewer).sets.all) == scored

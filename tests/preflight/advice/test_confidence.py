"""How sure experts are, against a slow reference, and where their images come from."""

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask
from wemoe_pl.preflight.advice.confidence import (
    Confidence,
    confidence_of,
    few_pixels,
    measure_confidence,
)


def test_confidence_is_the_mean_of_the_largest_probabilities(near_suite: Suite) -> None:
    experts = near_suite.load_experts()
    heads = {"dtd": near_suite.load_head("dtd")}
    found = measure_confidence(near_suite, experts, heads, images=7)["dtd"]
    assert isinstance(found, Confidence)
    assert (found.images, found.split) == (7, "test")
    encoder = near_suite.load_pretrained()
    encoder.load_state_dict(dict(experts["dtd"]))
    encoder.double()
    precise = deepcopy(heads["dtd"]).double()
    preprocessing = Preprocessing(near_suite.backbone)
    images = near_suite.task("dtd").images("test")
    largest, entropies = [], []
    for place in (0, 3, 6, 10, 13, 16, 19):
        pixels = preprocessing(images[place][0]).double()[None]
        logits = precise(encoder(pixels))[0]
        chances = [math.exp(z) for z in (logits - logits.max()).tolist()]
        chances = [chance / sum(chances) for chance in chances]
        largest.append(max(chances))
        entropies.append(-sum(p * math.log(p) for p in chances) / math.log(len(chances)))
    assert found.probability == pytest.approx(sum(largest) / 7, rel=1e-4)
    assert found.entropy == pytest.approx(sum(entropies) / 7, rel=1e-3)


def test_a_certain_expert_has_no_entropy_and_a_guessing_one_all() -> None:
    certain = confidence_of(torch.tensor([[100.0, 0.0]]), "test")
    assert (certain.probability, certain.entropy) == pytest.approx((1.0, 0.0))
    guessing = confidence_of(torch.zeros(3, 4), "train")
    assert (guessing.probability, guessing.entropy) == pytest.approx((0.25, 1.0))
    assert confidence_of(torch.zeros(2, 1), "test").entropy == 0


def test_images_are_spread_over_the_split_and_no_more_than_there_are(near_suite: Suite) -> None:
    preprocessing = Preprocessing(near_suite.backbone)
    task = MiniatureTask("cars", train_size=20, test_size=20)
    split, pixels = few_pixels(task, preprocessing, 2)
    images = task.images("test")
    assert split == "test"
    assert torch.equal(pixels[0], preprocessing(images[0][0]))
    assert torch.equal(pixels[1], preprocessing(images[19][0]))
    assert len(few_pixels(task, preprocessing, 500)[1]) == 20


def test_training_images_are_taken_if_there_are_no_others(
    near_suite: Suite, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    task = ImageFolderTask(
        train=str(tmp_path), test=str(tmp_path / "none"), class_names=("x",), labelled=False
    )
    split, pixels = few_pixels(task, Preprocessing(near_suite.backbone), 4)
    assert (split, len(pixels)) == ("train", 1)


def test_a_task_without_images_gets_the_reason(near_suite: Suite, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")
    lost = ImageFolderTask(train=nowhere, test=nowhere, class_names=("x",), labelled=False)
    suite = replace(near_suite, tasks={**near_suite.tasks, "cars": lost})
    heads = {task: near_suite.load_head(task) for task in ("cars", "dtd")}
    found = measure_confidence(suite, suite.load_experts(), heads, images=1)
    assert "none" in str(found["cars"])
    assert isinstance(found["dtd"], Confidence)

"""Classifiers of one task: their logits in timm and in transformers, and what they cannot be."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch.nn import functional as F

from wemoe_pl.errors import ConfigError
from wemoe_pl.export.card import CARD_FILE
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.manifest import MANIFEST, read_manifest
from wemoe_pl.export.one_task import change_in_words, classifier_of
from wemoe_pl.export.timm_folder import CONFIG_FILE
from wemoe_pl.export.writing import export
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.mass import MASS
from wemoe_pl.merging.smile import SMILE
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.measured import Measured

MakeModel = Callable[[MergeMethod], ExportedModel]
MEAN = [[0.5, -0.25], [0.125, 1.0]]


@pytest.mark.parametrize("method", [TaskArithmetic(), WEMoE(router_depth=0)], ids=repr)
def test_a_linear_head_is_the_last_layer_of_a_plain_encoder(
    make_model: MakeModel, method: MergeMethod, exports: Path, silent: Callable[[str], None]
) -> None:
    model = make_model(method)
    plain = classifier_of(model, "mnist", silent)
    assert export(plain, "timm", exports, silent) <= 1e-5
    there = timm.create_model(f"local-dir:{exports}", pretrained=True).eval()
    head: Any = model.classifier.head("mnist")
    # The tiny CLIP ends in a projection without a bias, and this head is linear.
    expected = model.features @ head.weight.T + head.bias
    torch.testing.assert_close(there(model.images), expected, rtol=0, atol=1e-5)
    assert type(there.head) is torch.nn.Linear
    assert there.num_classes == 10


def test_a_head_of_cosines_ranks_classes_alike(
    make_model: MakeModel, exports: Path, silent: Callable[[str], None]
) -> None:
    model, said = make_model(TaskArithmetic()), list[str]()
    plain = classifier_of(model, "cars", said.append)
    norm = model.features.norm(dim=1).mean()
    assert said == [
        "The head of 'cars' divides features by their norm, and a plain classifier cannot: it "
        f"divides all by {norm:.3g}, the mean norm for images of noise. The order of the classes "
        "stays the same, but their probabilities may be sharper or flatter."
    ]
    expected = 10 * model.features / norm @ F.normalize(model.classifier.head("cars").weight).T
    torch.testing.assert_close(plain.features, expected)
    exact = model.classifier(model.images, "cars")
    assert plain.features.argsort().equal(exact.argsort())
    export(plain, "timm", exports, silent)
    text = (exports / CARD_FILE).read_text()
    assert "A classifier of images of cars, made of a multi-task model" in text
    assert "divide by a fixed number here" in text


def test_routers_are_folded_by_the_mean_routing_of_the_task(
    make_model: MakeModel, exports: Path, silent: Callable[[str], None]
) -> None:
    model = make_model(WEMoE())
    with pytest.raises(ConfigError, match="does not know how images of 'mnist' are routed"):
        classifier_of(model, "mnist", silent)
    model.classifier.measured = Measured({}, {"mnist": MEAN})
    plain = classifier_of(model, "mnist", silent)
    assert export(plain, "timm", exports, silent) <= 1e-5
    there = timm.create_model(f"local-dir:{exports}", pretrained=True).eval()
    expected = model.classifier.specialise("mnist")(model.images)
    torch.testing.assert_close(there(model.images), expected, rtol=0, atol=1e-5)
    lost = (plain.features - model.classifier(model.images, "mnist")).abs().max()
    assert lost > 1e-3
    assert change_in_words(plain, model).startswith(
        "For images of noise, its logits differ from those of the multi-task model by up to "
        f"{lost:.2g}; the largest is "
    )


def test_an_expert_of_its_own_is_a_classifier_too(
    make_model: MakeModel, exports: Path, silent: Callable[[str], None]
) -> None:
    model = make_model(Individual())
    export(classifier_of(model, "mnist", silent), "timm", exports, silent)
    there = timm.create_model(f"local-dir:{exports}", pretrained=True).eval()
    expected = model.classifier(model.images, "mnist")
    torch.testing.assert_close(there(model.images), expected, rtol=0, atol=1e-5)


def test_a_manifest_has_the_recipe_of_the_model_and_one_head(
    make_model: MakeModel, exports: Path, silent: Callable[[str], None]
) -> None:
    model = make_model(TaskArithmetic())
    export(classifier_of(model, "mnist", silent), "timm", exports, silent)
    about = read_manifest(exports / MANIFEST)
    assert (about.task, about.format) == ("mnist", "timm")
    assert [*about.heads] == ["mnist"]
    assert about.recipe == model.recipe
    config = json.loads((exports / CONFIG_FILE).read_text())
    assert config["label_names"] == [*model.classifier.head("mnist").classes]
    assert config["num_classes"] == 10


def test_transformers_answers_in_words(
    make_model: MakeModel, exports: Path, silent: Callable[[str], None]
) -> None:
    from transformers import pipeline

    model = make_model(TaskArithmetic())
    export(classifier_of(model, "mnist", silent), "timm", exports, silent)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    found = pipeline("image-classification", model=str(exports), device="cpu")(image, top_k=10)
    expected = model.classifier.predict(image, "mnist", top=10)[0].top
    assert [answer["label"] for answer in found] == [name for name, _ in expected]
    scores = torch.tensor([answer["score"] for answer in found])
    torch.testing.assert_close(scores, torch.tensor([p for _, p in expected]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "task", "complaint"),
    [
        (TaskArithmetic(), "minst", r"no head for 'minst'. Did you mean 'mnist'"),
        (MASS(), "mnist", "no fixed weights stand for that"),
        (SMILE(2, 2), "mnist", "routes every token by itself"),
    ],
    ids=repr,
)
def test_what_is_no_plain_classifier_is_refused(
    make_model: MakeModel,
    method: MergeMethod,
    task: str,
    complaint: str,
    silent: Callable[[str], None],
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        classifier_of(make_model(method), task, silent)


def test_a_change_of_features_is_told_of_a_model_of_all_tasks(make_model: MakeModel) -> None:
    model = make_model(WEMoE())
    assert change_in_words(replace(model), model).startswith(
        "In this form, features changed by up to 0; the largest is "
    )

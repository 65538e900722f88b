"""Images are answered in words, each by the head of its task."""

import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from wemoe_pl.checkpoints.heads import CosineHead
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError, DataError, WeMoEError
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.mass import MASS
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.measured import Measured
from wemoe_pl.model.prediction import Prediction
from wemoe_pl.model.task_inference import InferenceRule, infer_task
from wemoe_pl.system.warn import warn_once


def random_x(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


IMAGES = random_x(4, 3, 32, 32)


@pytest.fixture(scope="module")
def model(tiny_suite: Suite) -> MultiTaskClassifier:
    """Routers that tell images apart, on the tiny suite; tests may move it, not train it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_classifier(tiny_suite, WEMoE(init_std=0.1)).eval()
    model.measured = Measured({"entropy": {}, "routing": {}})  # as of a run that has rejected none
    return model


@pytest.fixture(scope="module")
def static(tiny_suite: Suite) -> MultiTaskClassifier:
    return build_classifier(tiny_suite, TaskArithmetic()).eval()


@pytest.fixture
def pictures(tiny_suite: Suite, tmp_path: Path) -> list[Path]:
    """Five images of three tasks."""
    paths = [tmp_path / f"{place}.png" for place in range(5)]
    for place, path in enumerate(paths):
        task = tuple(tiny_suite.tasks)[place % 3]
        tiny_suite.task(task).images("test")[place][0].save(path)
    return paths


def prepared(model: MultiTaskClassifier, paths: list[Path]) -> Tensor:
    return torch.stack([model.preprocess(Image.open(path)) for path in paths])


def test_a_told_task_is_answered_by_its_head(
    model: MultiTaskClassifier, pictures: list[Path]
) -> None:
    probabilities = model(prepared(model, pictures), "mnist").softmax(dim=-1)
    answers = model.predict(pictures, "mnist", top=3)
    assert len(answers) == len(pictures)
    for answer, expected in zip(answers, probabilities, strict=True):
        assert (answer.task, answer.task_confidence) == ("mnist", None)
        order = expected.argsort(descending=True)[:3].tolist()
        assert [name for name, _ in answer.top] == [model.head("mnist").classes[i] for i in order]
        assert [p for _, p in answer.top] == pytest.approx(expected[order].tolist(), rel=1e-4)
        assert (answer.class_name, answer.probability) == answer.top[0]


def test_one_class_is_listed_unless_more_are_asked_for(
    model: MultiTaskClassifier, pictures: list[Path]
) -> None:
    for answer in model.predict(pictures, "mnist"):
        assert answer.top == [(answer.class_name, answer.probability)]


@pytest.mark.parametrize("rule", ["entropy", "routing"])
def test_a_task_that_is_not_told_is_inferred(
    rule: InferenceRule, model: MultiTaskClassifier, pictures: list[Path]
) -> None:
    images = prepared(model, pictures)
    with model.recorded_routing():
        logits = {task: model(images, task) for task in model.tasks}
        inferred = infer_task(rule, logits, model.routing_weights, model.experts)
    for i, answer in enumerate(model.predict(pictures, rule=rule)):
        place, confidence = (values[i].item() for values in inferred)
        assert answer.task == model.tasks[int(place)]
        assert answer.task_confidence == pytest.approx(confidence, rel=1e-4)
        told = model.predict(pictures[i], answer.task)[0]
        assert answer.class_name == told.class_name
        assert answer.probability == pytest.approx(told.probability, rel=1e-4)
    confidences = {answer.task_confidence for answer in model.predict(pictures, rule=rule)}
    assert len(confidences) == len(pictures)


def test_tasks_are_inferred_by_entropy_unless_asked_otherwise(
    model: MultiTaskClassifier, static: MultiTaskClassifier, pictures: list[Path]
) -> None:
    assert model.predict(pictures) == model.predict(pictures, rule="entropy")
    assert len(static.predict(pictures)) == len(pictures)


def test_the_only_task_need_not_be_inferred(
    model: MultiTaskClassifier, pictures: list[Path]
) -> None:
    head = {"dtd": model.head("dtd")}
    alone = MultiTaskClassifier(model.encoder, head, backbone=model.backbone, experts=model.experts)
    assert alone.predict(pictures) == model.predict(pictures, "dtd")


def test_images_in_any_form_are_answered_alike(
    model: MultiTaskClassifier, pictures: list[Path]
) -> None:
    opened = [Image.open(path) for path in pictures]
    expected = model.predict(opened)
    assert model.predict(iter(opened)) == model.predict(prepared(model, pictures)) == expected
    named = [a._replace(image=str(p)) for a, p in zip(expected, pictures, strict=True)]
    assert model.predict(pictures) == model.predict([str(path) for path in pictures]) == named
    assert model.predict(pictures[0].parent) == named
    for one in (pictures[0], str(pictures[0]), opened[0]):
        [answer] = model.predict(one)
        assert answer.class_name == expected[0].class_name
        assert answer.probability == pytest.approx(expected[0].probability, rel=1e-4)


def test_images_are_answered_in_batches(
    model: MultiTaskClassifier, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    hook = model.encoder.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    answers = model.predict(pictures, batch_size=2)
    hook.remove()
    assert sizes == [2, 2, 1]
    whole = model.predict(pictures)
    assert [a.class_name for a in answers] == [a.class_name for a in whole]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_images_of_all_modes_are_answered(mode: str, model: MultiTaskClassifier) -> None:
    assert len(model.predict(Image.new(mode, (50, 40)), "cars")) == 1


def test_routing_names_experts(model: MultiTaskClassifier, pictures: list[Path]) -> None:
    routing = model.routing(pictures, batch_size=2)
    assert list(routing) == ["cars", "dtd", "mnist"]
    with model.recorded_routing():
        model.encode(prepared(model, pictures))
        weights = model.routing_weights
    for column, expert in enumerate(routing):
        assert routing[expert].shape == (5, 2)
        for block in range(2):
            expected = weights[block][:, column]
            torch.testing.assert_close(routing[expert][:, block], expected)
    assert not any(mixture.record_routing for mixture in model.mixtures)


def test_a_classifier_says_what_it_is(
    model: MultiTaskClassifier, static: MultiTaskClassifier
) -> None:
    size = sum(p.numel() for p in model.encoder.parameters())
    assert repr(model).splitlines() == [
        f"MultiTaskClassifier: vit_tiny_patch16_224, {size:,} parameters, float32 on cpu",
        "  2 mixtures of cars, dtd, mnist",
        "  tasks (classes): cars (10), dtd (10), mnist (10)",
        '  model.predict("photo.png") names task and class',
        '  model(images, "cars") gives the logits of images from model.preprocess',
    ]
    assert "one set of weights for all images" in repr(static)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_classifier_answers_in_other_precisions(
    dtype: torch.dtype, model: MultiTaskClassifier, pictures: list[Path]
) -> None:
    other = deepcopy(model).to(dtype)
    assert other(prepared(model, pictures).to(dtype), "mnist").dtype == max(
        dtype, torch.float32, key=lambda each: each.itemsize
    )
    for answer, expected in zip(
        other.predict(pictures, "mnist"), model.predict(pictures, "mnist"), strict=True
    ):
        assert answer.probability == pytest.approx(expected.probability, abs=0.05)
    assert other.routing(pictures)["cars"].dtype == torch.float32


@pytest.mark.parametrize(
    "depth", [pytest.param(0, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.slow), 2]
)
def test_a_compiled_classifier_answers_the_same(
    depth: int, tiny_suite: Suite, pictures: list[Path]
) -> None:
    torch.compiler.reset()
    model = build_classifier(tiny_suite, WEMoE(router_depth=depth, init_std=0.5)).eval()
    images = prepared(model, pictures)
    expected, answers = model(images, "dtd"), model.predict(images)
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(compiled(images, "dtd"), expected)
    model.encoder.compile(backend="aot_eager")
    assert [a.class_name for a in model.predict(images)] == [a.class_name for a in answers]
    assert model.routing(images).keys() == {"cars", "dtd", "mnist"}


def test_a_classifier_says_nothing_that_is_not_asked_for(
    model: MultiTaskClassifier, pictures: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(pictures)
        model.routing(pictures)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, r"^There are no images: give at least one\.$"),
        (torch.zeros(0, 3, 28, 28), {}, r"^There are no images: give at least one\.$"),
        (
            torch.zeros(2, 28, 28, 3), {},
            r"takes images of shape \(B, 3, 28, 28\), not \(2, 28, 28, 3\): prepare each with",
        ),
        (torch.zeros(3, 28, 28), {}, r"shape \(B, 3, 28, 28\), not \(3, 28, 28\)"),
        (
            torch.zeros(1, 3, 28, 28, dtype=torch.uint8), {},
            r"takes normalised images, not torch\.uint8: prepare each with model\.preprocess",
        ),
        ("missing.png", {}, r"^There is no folder or file missing\.png: check its path\.$"),
        ([None], {}, r"as one of Pillow's, and not as None, of type NoneType\.$"),
        (3, {}, r"^An image is given as the path of a file or folder, .* not as 3, of type int\.$"),
        (np.zeros((28, 28, 3)), {}, r"not as array\([^\n]{,25}, of type ndarray\.$"),
        (IMAGES[:, :, :28, :28], {"task": "mnits"}, r"no head for 'mnits'. Did you mean 'mnist'\?"),
        (IMAGES[:, :, :28, :28], {"rule": "entrpy"}, r"no rule 'entrpy'\. Did you mean 'entropy'"),
        (IMAGES[:, :, :28, :28], {"top": 0}, r"^top is 0: give a number from 1\.$"),
        (IMAGES[:, :, :28, :28], {"batch_size": 0}, r"^batch_size is 0: give a number from 1\.$"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_in_a_sentence(
    images: Any, options: dict[str, Any], message: str, model: MultiTaskClassifier
) -> None:
    with pytest.raises(WeMoEError, match=message):
        model.predict(images, **options)


def test_a_file_that_is_no_image_is_named(model: MultiTaskClassifier, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(DataError, match=rf"^{tmp_path}/notes\.png is not a readable image: "):
        model.predict([tmp_path / "notes.png"])


def test_a_static_merge_has_no_routing(static: MultiTaskClassifier) -> None:
    with pytest.raises(ConfigError, match=r"no routers: its weights are the same for every image"):
        static.routing(IMAGES[:, :, :28, :28])
    with pytest.raises(ConfigError, match=r"no routers to infer the task by: use .* 'entropy'"):
        static.predict(IMAGES[:, :, :28, :28], rule="routing")


def test_individual_experts_must_be_told_the_task(tiny_suite: Suite) -> None:
    model = build_classifier(tiny_suite, Individual()).eval()
    assert len(model.predict(IMAGES[:, :, :28, :28], "cars")) == len(IMAGES)
    with pytest.raises(ConfigError, match=r"an encoder per task: say which task the images are of"):
        model.predict(IMAGES[:, :, :28, :28])


def test_a_head_of_one_class_is_certain_of_any_image_and_infers_no_task(
    model: MultiTaskClassifier, pictures: list[Path]
) -> None:
    single = CosineHead(torch.ones(1, 16), ["only"], 10.0)
    heads = {**{task: model.head(task) for task in model.tasks}, "one": single}
    alone = MultiTaskClassifier(
        model.encoder, heads, backbone=model.backbone, experts=model.experts
    )
    [told] = alone.predict(pictures[:1], "one", top=3)
    assert (told.class_name, told.probability, told.top) == ("only", 1.0, [("only", 1.0)])
    with pytest.raises(ConfigError, match=r"^The task 'one' has one class, .* the rule 'routing'"):
        alone.predict(pictures[:1])
    assert alone.predict(pictures[:1], rule="routing")[0].task in model.tasks


def test_a_prediction_shows_an_image_and_an_error_only_where_there_are_any() -> None:
    answer = Prediction("mnist", 0.5, "3", 0.75, [("3", 0.75)])
    assert repr(answer) == (
        "Prediction(task='mnist', task_confidence=0.5, class_name='3', probability=0.75, "
        "top=[('3', 0.75)])"
    )
    assert repr(Prediction.unreadable("a.png", "torn")).endswith("image='a.png', error='torn')")


# An image of none of the tasks


def test_an_image_below_the_threshold_of_its_inferred_task_is_of_none(
    static: MultiTaskClassifier, pictures: list[Path]
) -> None:
    model = deepcopy(static)
    guessed = model.predict(pictures)
    confidences = [answer.task_confidence or 0 for answer in guessed]
    least = sorted(confidences)[2]
    model.measured = Measured({"entropy": dict.fromkeys(model.tasks, least)})
    answers = model.predict(pictures, top=2)
    assert sum(answer.task is None for answer in answers) == 2
    for answer, guess, sure in zip(answers, guessed, confidences, strict=True):
        if sure < least:
            assert answer == Prediction(None, guess.task_confidence, None, None, [], guess.image)
            assert repr(answer).startswith("Prediction(task=None, task_confidence=0.")
        else:
            assert answer.task == guess.task
    assert model.predict(pictures, reject=False) == guessed
    assert all(answer.task == "mnist" for answer in model.predict(pictures, "mnist"))


def test_a_threshold_is_of_one_task_and_one_rule(
    model: MultiTaskClassifier, pictures: list[Path]
) -> None:
    own = deepcopy(model)
    [guess, *_] = own.predict(pictures)
    own.measured = Measured({"entropy": {str(guess.task): 1.1}, "routing": {}})
    for answer, before in zip(own.predict(pictures), model.predict(pictures), strict=True):
        assert (answer.task is None) == (before.task == guess.task)
    assert all(answer.task for answer in own.predict(pictures, rule="routing"))


def test_it_is_said_once_that_nothing_was_calibrated(
    static: MultiTaskClassifier, pictures: list[Path]
) -> None:
    warn_once.cache_clear()
    with pytest.warns(UserWarning, match="cannot say that an image belongs to none of the") as told:
        static.predict(pictures)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        static.predict(pictures)
        warn_once.cache_clear()
        static.predict(pictures, "mnist")


def test_mass_infers_the_task_by_the_largest_logit_of_those_that_it_chose(
    tiny_suite: Suite, static: MultiTaskClassifier
) -> None:
    model = build_classifier(tiny_suite, MASS(temperature=3.0)).eval()
    images = IMAGES[:, :, :28, :28]
    weights = model.routing(images)
    answers = model.predict(images, rule="logit", reject=False)
    for i, answer in enumerate(answers):
        chosen = [task for task, values in weights.items() if values[i].item() > 0]
        largest = {task: model(images[i : i + 1], task).max().item() for task in chosen}
        assert answer.task == max(largest, key=lambda task: largest[task])
    assert "weights that are merged for every image from some of cars, dtd, mnist" in repr(model)
    with pytest.raises(
        ConfigError, match=r"^The rule 'logit' compares the tasks that an image was"
    ):
        static.predict(images, rule="logit")

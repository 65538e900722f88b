"""The product: one encoder, a head per task, and every task answered by its own head."""

import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from wemoe_pl.checkpoints import Backbone, load_encoder
from wemoe_pl.checkpoints.heads import ClassificationHead, CosineHead, LinearHead
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask
from wemoe_pl.errors import CheckpointError, ConfigError, DataError, WeMoEError
from wemoe_pl.merging import Individual, MergeMethod, Pretrained, TaskArithmetic, WEMoE, blocks_of
from wemoe_pl.model.classifier import MultiTaskClassifier, build_classifier, build_classifiers
from wemoe_pl.model.task_inference import Rule, infer_task
from wemoe_pl.moe.layers import WeightEnsemblingMoE

BACKBONE = Backbone("vit_tiny_patch16_224", {"img_size": 32})
METHODS = [Pretrained(), Individual(), TaskArithmetic(), WEMoE()]
SHARED = [method for method in METHODS if not isinstance(method, Individual)]


def random_x(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


IMAGES = random_x(4, 3, 32, 32)


@pytest.fixture
def heads() -> dict[str, ClassificationHead]:
    """Heads of both kinds, and of different numbers of classes."""
    return {
        "cars": CosineHead(random_x(2, 16, seed=2), ["coupe", "van"], 10.0),
        "dtd": LinearHead(random_x(3, 16, seed=3), ["a", "b", "c"], random_x(3)),
        "mnist": CosineHead(random_x(5, 16, seed=5), list("01234"), 20.0),
    }


@pytest.mark.parametrize("method", SHARED, ids=repr)
def test_logits_are_those_of_the_tasks_head_on_the_shared_features(
    method: MergeMethod,
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    heads: dict[str, ClassificationHead],
) -> None:
    encoder = method.merge(pretrained, experts)
    model = MultiTaskClassifier(encoder, heads, backbone=BACKBONE)
    for task, head in heads.items():
        assert torch.equal(model(IMAGES, task), head(encoder(IMAGES)))


def test_individual_experts_answer_their_own_task(
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    heads: dict[str, ClassificationHead],
) -> None:
    model = MultiTaskClassifier(Individual().merge(pretrained, experts), heads, backbone=BACKBONE)
    for task in ("cars", "mnist", "dtd", "cars", "cars"):
        assert torch.equal(model(IMAGES, task), heads[task](experts[task](IMAGES)))


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_all_tasks_together_are_answered_as_one_by_one(
    method: MergeMethod,
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    heads: dict[str, ClassificationHead],
) -> None:
    model = MultiTaskClassifier(method.merge(pretrained, experts), heads, backbone=BACKBONE)
    batches = {"mnist": random_x(3, 3, 32, 32, seed=1), "cars": random_x(1, 3, 32, 32, seed=2)}
    together = model.forward_tasks(batches)
    assert list(together) == ["mnist", "cars"]
    for task, batch in batches.items():
        torch.testing.assert_close(together[task], model(batch, task))


def test_all_tasks_together_are_one_pass(
    pretrained: nn.Module, heads: dict[str, ClassificationHead]
) -> None:
    encoder = Pretrained().merge(pretrained, {})
    passes = []
    encoder.register_forward_hook(lambda _, inputs, __: passes.append(len(inputs[0])))
    MultiTaskClassifier(encoder, heads, backbone=BACKBONE).forward_tasks(
        {"cars": IMAGES, "dtd": IMAGES[:1]}
    )
    assert passes == [5]


def test_a_head_is_found_by_its_task(
    pretrained: nn.Module, heads: dict[str, ClassificationHead]
) -> None:
    model = MultiTaskClassifier(pretrained, heads, backbone=BACKBONE)
    assert model.tasks == ("cars", "dtd", "mnist")
    assert model.head("dtd") is heads["dtd"]


def test_an_unknown_task_is_answered_with_the_nearest(
    pretrained: nn.Module, heads: dict[str, ClassificationHead]
) -> None:
    with pytest.raises(ConfigError) as error:
        MultiTaskClassifier(pretrained, heads, backbone=BACKBONE)(IMAGES, "mnits")
    assert str(error.value) == (
        "The model has no head for 'mnits'. Did you mean 'mnist'? Valid names: cars, dtd, mnist."
    )


def test_mixtures_are_listed_from_the_first_block_to_the_last(
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    heads: dict[str, ClassificationHead],
) -> None:
    encoder = WEMoE().merge(pretrained, experts)
    mixtures = MultiTaskClassifier(encoder, heads, backbone=BACKBONE).mixtures
    assert mixtures == [block.mlp for block in blocks_of(encoder)]
    assert len(mixtures) == 2


@pytest.mark.parametrize("method", METHODS[:-1], ids=repr)
def test_a_static_merge_has_no_mixtures(
    method: MergeMethod,
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    heads: dict[str, ClassificationHead],
) -> None:
    assert (
        MultiTaskClassifier(method.merge(pretrained, experts), heads, backbone=BACKBONE).mixtures
        == []
    )


def test_a_classifier_is_built_from_a_suite(tiny_suite: Suite) -> None:
    model = build_classifier(tiny_suite, WEMoE(init_lambda=0.2))
    expected = WEMoE(init_lambda=0.2).merge(tiny_suite.load_pretrained(), tiny_suite.load_experts())
    frozen = {key: w for key, w in expected.state_dict().items() if ".router." not in key}
    actual = {key: model.encoder.state_dict()[key] for key in frozen}
    torch.testing.assert_close(actual, frozen, rtol=0, atol=0)
    for task in tiny_suite.tasks:
        assert torch.equal(model.head(task).weight, tiny_suite.load_head(task).weight)


def test_nothing_but_the_routers_of_a_classifier_is_trainable(tiny_suite: Suite) -> None:
    model = build_classifier(tiny_suite, WEMoE())
    routers = {id(weight) for moe in model.mixtures for weight in moe.router.parameters()}
    assert {id(weight) for weight in model.parameters() if weight.requires_grad} == routers
    assert all(isinstance(moe, WeightEnsemblingMoE) for moe in model.mixtures)


# --- built from a suite ----------------------------------------------------------------------


def test_several_methods_share_what_is_read(
    tiny_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(name: str) -> Callable[[Suite], Any]:
        load: Callable[[Suite], Any] = getattr(Suite, name)

        def read(suite: Suite) -> Any:
            calls.append(name)
            return load(suite)

        return read

    for name in ("load_pretrained", "load_experts"):
        monkeypatch.setattr(Suite, name, counted(name))
    together = build_classifiers(tiny_suite, METHODS)
    assert calls == ["load_pretrained", "load_experts"]
    images = random_x(2, 3, 28, 28)
    for method, model in zip(METHODS[:-1], together, strict=False):  # routers are random
        alone = build_classifier(tiny_suite, method)
        for task in tiny_suite.tasks:
            assert torch.equal(model(images, task), alone(images, task))


def test_without_methods_nothing_is_read(tiny_suite: Suite) -> None:
    assert build_classifiers(replace(tiny_suite, pretrained="nowhere"), []) == []


def test_individual_experts_have_heads_for_their_own_tasks_only(tiny_suite: Suite) -> None:
    fewer = replace(tiny_suite, experts={"dtd": tiny_suite.experts["dtd"]})
    assert build_classifier(fewer, Individual()).tasks == ("dtd",)
    assert build_classifier(fewer, TaskArithmetic()).tasks == ("cars", "dtd", "mnist")


def test_individual_experts_take_turns_whatever_the_order(tiny_suite: Suite) -> None:
    model, images = build_classifier(tiny_suite, Individual()), random_x(2, 3, 28, 28)
    first = {task: model(images, task) for task in model.tasks}
    for task in reversed(model.tasks):
        assert torch.equal(model(images, task), first[task])
    expert = load_encoder(tiny_suite.experts["dtd"], tiny_suite.backbone)
    assert torch.equal(first["dtd"], tiny_suite.load_head("dtd")(expert(images)))


def test_the_classes_of_images_are_compared_unless_they_are_not_there(tiny_suite: Suite) -> None:
    names = tuple(f"class {i}" for i in range(len(tiny_suite.task("dtd").classes)))
    tasks = tiny_suite.tasks | {"dtd": ImageFolderTask(class_names=names)}
    suite = replace(tiny_suite, tasks=tasks)
    with pytest.raises(CheckpointError, match="names class 0"):
        build_classifier(suite, Pretrained())
    model = build_classifier(suite, Pretrained(), check_classes=False)
    assert model.head("dtd").classes == tiny_suite.task("dtd").classes


# --- use ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tiny_suite: Suite) -> MultiTaskClassifier:
    """Routers that tell images apart, on the tiny suite; tests may move it, not train it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_classifier(tiny_suite, WEMoE(init_std=0.1)).eval()


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


@pytest.mark.parametrize("rule", ["entropy", "routing"])
def test_a_task_that_is_not_told_is_inferred(
    rule: Rule, model: MultiTaskClassifier, pictures: list[Path]
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
    expected = model.predict(pictures)
    opened = [Image.open(path) for path in pictures]
    assert model.predict(opened) == model.predict(iter(opened)) == expected
    assert model.predict([str(path) for path in pictures]) == expected
    assert model.predict(prepared(model, pictures)) == expected
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
        '  model(images, "cars") gives logits of what model.preprocess made',
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
        ("missing.png", {}, r"^missing\.png is not a readable image: .*No such file"),
        ([None], {}, r"^An image is a path or one of Pillow's, not a NoneType\.$"),
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

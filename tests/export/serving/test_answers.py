"""A batch of requests is answered as each is by `model.predict`, in one forward pass."""

from io import BytesIO

import pytest
import torch
from helpers.servers import Case, is_right
from PIL import Image
from torch import Tensor, nn

from wemoe_pl.data.suite import Suite
from wemoe_pl.export.serving.answers import Answerer, Asked, ServedAnswer
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.classifier import MultiTaskClassifier


def asked_by(case: Case, model: MultiTaskClassifier, **more: object) -> Asked:
    pixels = model.preprocess.pixels(Image.open(BytesIO(case.body)))
    task, reject = case.query.get("task"), "reject" not in case.query
    return Asked(pixels, task, reject=reject)._replace(**more)  # type: ignore[arg-type]


class Passes:
    """Counts the images of each forward pass of a module."""

    def __init__(self, module: nn.Module):
        self.sizes: list[int] = []
        module.register_forward_hook(self.note)

    def note(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.sizes.append(len(inputs[0]))


def test_a_mixed_batch_is_one_pass_and_each_head_sees_only_its_rows(
    tiny_suite: Suite, cases: list[Case]
) -> None:
    model = build_classifier(tiny_suite, WEMoE()).eval()
    encoder = Passes(model.encoder)
    heads = {task: Passes(model.head(task)) for task in model.tasks}
    Answerer(model)([asked_by(case, model) for case in cases])
    assert encoder.sizes == [len(cases)]
    inferred = sum("task" not in case.query for case in cases)
    for task, passes in heads.items():
        told = sum(case.query.get("task") == task for case in cases)
        assert passes.sizes == [inferred + told]


def test_the_answers_are_those_of_each_image_alone(
    model: MultiTaskClassifier, cases: list[Case]
) -> None:
    answers = Answerer(model)([asked_by(case, model) for case in cases])
    for answer, case in zip(answers, cases, strict=True):
        assert is_right(answer, case.answer)
        assert ServedAnswer.model_validate(answer).model_dump(by_alias=True) == answer


def test_a_head_is_not_applied_to_images_of_other_tasks_only(
    tiny_suite: Suite, cases: list[Case]
) -> None:
    model = build_classifier(tiny_suite, WEMoE()).eval()
    heads = {task: Passes(model.head(task)) for task in model.tasks}
    Answerer(model)([asked_by(case, model, task="mnist") for case in cases[:3]])
    assert {task: passes.sizes for task, passes in heads.items()} == {
        "mnist": [3], "cars": [], "dtd": [],
    }  # fmt: skip


def test_each_lists_as_many_classes_as_it_asks_for(
    model: MultiTaskClassifier, cases: list[Case]
) -> None:
    batch = [asked_by(cases[1], model, top=top) for top in (1, 3, 10**9)]
    one, three, every = Answerer(model)(batch)
    assert [len(answer["top"]) for answer in (one, three, every)] == [1, 3, 10]
    assert every["top"][:3] == three["top"]
    assert sum(best["probability"] for best in every["top"]) == pytest.approx(1)


def test_only_those_who_ask_get_their_own_routing_weights(
    model: MultiTaskClassifier, cases: list[Case]
) -> None:
    images = [Image.open(BytesIO(case.body)) for case in cases[:3]]
    expected = model.routing(images)
    batch = [asked_by(case, model, routing=row != 1) for row, case in enumerate(cases[:3])]
    answers = Answerer(model)(batch)
    assert answers[1]["routing"] is None
    for row in (0, 2):
        weights = answers[row]["routing"]
        assert weights.keys() == expected.keys()
        for expert, by_block in weights.items():
            torch.testing.assert_close(
                torch.tensor([*by_block.values()]), expected[expert][row], rtol=1e-4, atol=1e-5
            )


def test_experts_answer_each_for_its_own_task(tiny_suite: Suite, cases: list[Case]) -> None:
    model = build_classifier(tiny_suite, Individual()).eval()
    batch = [
        asked_by(case, model, task=task)
        for case, task in zip(cases, [*model.tasks, *model.tasks], strict=False)
    ]
    for answer, asked in zip(Answerer(model)(batch), batch, strict=True):
        [alone] = model.predict(model.preprocess.normalise(asked.pixels[None]), asked.task)
        assert (answer["task"], answer["class"]) == (asked.task, alone.class_name)
        assert answer["probability"] == pytest.approx(alone.probability, rel=1e-4)


def test_images_are_alone_where_others_would_change_the_answer(
    tiny_suite: Suite, cases: list[Case]
) -> None:
    model = build_classifier(tiny_suite, WEMoE(routing="batch", init_std=0.3)).eval()
    assert model.routes_batches
    encoder = Passes(model.encoder)
    batch = [asked_by(case, model) for case in cases[:4]]
    together = Answerer(model)(batch)
    assert encoder.sizes == [1] * 4
    assert together == [answer for asked in batch for answer in Answerer(model)([asked])]

"""The estimate of memory beside what is there, and what the allocator says of a step."""

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.emr import EMR
from wemoe_pl.merging.fisher import Fisher
from wemoe_pl.merging.from_samples import SampleMethod
from wemoe_pl.merging.lines import LiNeS
from wemoe_pl.merging.mass import MASS
from wemoe_pl.merging.model_stock import ModelStock
from wemoe_pl.merging.regmean import RegMean
from wemoe_pl.merging.regmean_plus_plus import RegMeanPlusPlus
from wemoe_pl.merging.smile import SMILE
from wemoe_pl.merging.switch import TSwitch
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.tsv import TSVM
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.model.building import build_classifiers
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.mixture import mixtures_of
from wemoe_pl.moe.quantised import Quantised
from wemoe_pl.preflight.memory import activations, estimate, free_bytes
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.finetune import ExpertFineTuning
from wemoe_pl.training.lora import LoRA
from wemoe_pl.training.objectives.base import Objective
from wemoe_pl.training.objectives.distillation import Distillation, FeatureMatching
from wemoe_pl.training.sample_merging import SampleMerging

# Of a size at which tensors, and not the tiles of a cache, make most of the memory.
OPTIONS = {"img_size": 112, "patch_size": 16, "embed_dim": 96, "depth": 4, "num_heads": 3}
BACKBONE = Backbone("vit_tiny_patch16_224", OPTIONS)
IMAGES = 16
TOLERANCE = 0.3
METHODS: list[MergeMethod] = [
    WEMoE(),
    WEMoE(router_depth=0),
    WEMoE(compression=LowRank(rank=8)),
    EWEMoE(),
    AdaMerging(),
]


def bytes_of(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def unshared(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize(
    "method",
    [
        *METHODS,
        TaskArithmetic(),
        TSVM(),
        ModelStock(),
        LiNeS(TaskArithmetic(1.0)),
        EMR(),
        TSwitch(),
        SMILE(),
        MASS(),
        WEMoE(compression=Dense("bfloat16")),
        WEMoE(compression=Quantised()),
        WEMoE(attention=Dense(), attention_router="shared"),
        WEMoE(attention=LowRank(rank=2), rest=LiNeS(TaskArithmetic(1.0)), centre=TSVM()),
    ],
    ids=repr,
)
def test_a_model_is_as_large_as_it_is_told(method: MergeMethod, tiny_suite: Suite) -> None:
    module = TestTimeAdaptation(tiny_suite, method)
    memory = estimate(module, 2, 2)
    [classifier] = build_classifiers(tiny_suite, [method])
    encoder = classifier.encoder
    if isinstance(method, EWEMoE):  # how many entries a block has is known once it is pruned
        assert memory.model == pytest.approx(unshared(encoder), rel=0.01)
    else:
        assert memory.model == unshared(encoder)
    trained = sum(p.nbytes for p in encoder.parameters() if p.requires_grad)
    assert memory.optimizer == 2 * trained
    vectors = sum(mixture.task_vectors.nbytes for mixture in mixtures_of(encoder).values())
    if not isinstance(method, AdaMerging):
        assert memory.task_vectors == pytest.approx(vectors, rel=0.01)
    columns = {n: m for n, m in module.columns.items() if n != module.own_reference}
    references = build_classifiers(tiny_suite, list(columns.values()))
    assert memory.references == sum(unshared(each.encoder) for each in references)


@pytest.mark.filterwarnings("ignore:.*does not name the model")
def test_a_dictionary_of_adapters_is_as_large_as_their_factors(lora_suite: Suite) -> None:
    memory = estimate(TestTimeAdaptation(lora_suite, WEMoE()), 2, 2)
    [classifier] = build_classifiers(lora_suite, [WEMoE()])
    assert memory.model == unshared(classifier.encoder)
    whole = estimate(TestTimeAdaptation(lora_suite, WEMoE(compression=Quantised())), 2, 2)
    assert memory.task_vectors < whole.task_vectors


def test_the_optimizer_of_an_adapter_knows_thin_matrices_alone(tiny_suite: Suite) -> None:
    adapted = ExpertFineTuning(tiny_suite, "cars", adapter=LoRA(rank=2))
    encoder = tiny_suite.load_pretrained()
    LoRA(rank=2).add_to(encoder)
    trained = sum(p.nbytes for p in encoder.parameters() if p.requires_grad)
    assert 0 < estimate(adapted, 2, 2).optimizer == 2 * trained


def test_half_precision_takes_half(tiny_suite: Suite) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), references=False)
    whole, half = estimate(module, 2, 4), estimate(module, 2, 4, torch.bfloat16)
    assert half.fit == pytest.approx(whole.fit / 2, abs=4)
    assert half.references == 0


def peak(run: Callable[[], Any]) -> int:
    """The most bytes that the allocator has given out at once, of what a function asked for."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = profiler.profiler.kineto_results.events()
    memory = sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns())
    return max(accumulate(event.nbytes() for event in memory))


def random_suite(experts: int) -> tuple[nn.Module, dict[str, dict[str, torch.Tensor]]]:
    pretrained, generator = BACKBONE.build(), torch.Generator().manual_seed(0)
    states = {
        str(i): {
            key: weight + 0.01 * torch.randn(weight.shape, generator=generator)
            for key, weight in pretrained.state_dict().items()
        }
        for i in range(experts)
    }
    return pretrained, states


def step_of(encoder: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    images = torch.randn(IMAGES, 3, 112, 112)

    def step() -> None:
        encoder(images.clone()).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def estimated_step(suite: Suite, method: MergeMethod) -> int:
    return estimate(TestTimeAdaptation(suite, method), IMAGES, IMAGES).step


@pytest.fixture
def suite(tiny_suite: Suite) -> Suite:
    """The tiny suite with a larger backbone: only the names of its experts are looked at."""
    sources = dict.fromkeys(tiny_suite.experts, "nowhere")
    return Suite("larger", BACKBONE, "nowhere", tasks=tiny_suite.tasks, experts=sources)


@pytest.mark.parametrize("method", [*METHODS, WEMoE(attention=Dense())], ids=repr)
def test_a_step_takes_what_is_estimated(method: MergeMethod, suite: Suite) -> None:
    pretrained, states = random_suite(len(suite.experts))
    encoder = method.merge(pretrained, states)
    optimizer = torch.optim.Adam([p for p in encoder.parameters() if p.requires_grad])
    step = step_of(encoder, optimizer)
    step()  # Adam's means are there, and kernels are chosen
    assert estimated_step(suite, method) == pytest.approx(peak(step), rel=TOLERANCE)


@pytest.mark.parametrize("objective", [Distillation(), FeatureMatching()])
def test_an_expert_that_an_objective_compares_with_is_counted(
    suite: Suite, objective: Objective
) -> None:
    with_expert = TestTimeAdaptation(suite, WEMoE(), objective=objective)
    added = estimate(with_expert, IMAGES, IMAGES).step - estimated_step(suite, WEMoE())
    assert added == bytes_of(BACKBONE.build())


def test_a_step_of_fine_tuning_takes_what_is_estimated(suite: Suite) -> None:
    task = next(iter(suite.tasks))
    encoder = BACKBONE.build()
    step = step_of(encoder, torch.optim.Adam(encoder.parameters()))
    step()
    memory = estimate(ExpertFineTuning(suite, task), IMAGES, IMAGES)
    assert memory.step == pytest.approx(peak(step), rel=TOLERANCE)
    assert memory.optimizer == 2 * bytes_of(encoder)


def test_a_pass_of_the_plain_encoder_takes_exactly_what_is_counted() -> None:
    encoder, images = BACKBONE.build().requires_grad_(False), torch.randn(IMAGES, 3, 112, 112)
    counted = activations(BACKBONE, IMAGES)
    assert counted == pytest.approx(peak(lambda: encoder(images.clone())), rel=0.02)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("beit_base_patch16_224", {"depth": 2, "embed_dim": 32, "num_heads": 2}),
        ("eva02_tiny_patch14_224", {"depth": 2, "embed_dim": 32, "num_heads": 2}),
        ("vit_small_patch14_dinov2", {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": 56}),
    ],
)
def test_backbones_of_other_kinds_are_counted_too(
    model: str, options: dict[str, Any], suite: Suite
) -> None:
    other = replace(suite, backbone=Backbone(model, options))
    for module in (TestTimeAdaptation(other, WEMoE()), ExpertFineTuning(other, "cars")):
        memory = estimate(module, 2, 2)
        assert 0 < memory.scoring < memory.step < memory.fit


def test_what_is_free_is_told_of_this_machine() -> None:
    free = free_bytes("cpu")
    assert free is None or 0 < free < 2**50


def test_the_models_that_are_merged_for_images_are_counted(tiny_suite: Suite) -> None:
    few, many = (
        estimate(TestTimeAdaptation(tiny_suite, MASS(cached=cached)), 2, 2) for cached in (1, 4)
    )
    one = estimate(TestTimeAdaptation(tiny_suite, TaskArithmetic()), 2, 2).model
    assert many.scoring - few.scoring == 3 * one
    assert many.model == few.model


@pytest.mark.parametrize("method", [RegMean(), RegMeanPlusPlus(), Fisher()], ids=lambda m: m.label)
def test_what_samples_take_is_estimated(method: SampleMethod, suite: Suite) -> None:
    steps, tasks = 3, len(suite.experts)
    pretrained, found_states = random_suite(tasks)
    pretrained.requires_grad_(False)
    states = dict(zip(suite.experts, found_states.values(), strict=True))
    images = {task: [torch.randn(4, 3, 112, 112) for _ in range(steps)] for task in suite.experts}
    labels, head = torch.zeros(4, dtype=torch.long), torch.nn.Identity()
    averages = method.merge(pretrained, states).state_dict()

    def show() -> None:
        sums = method.start(pretrained, states)
        for task, batches in images.items():
            for batch in batches:
                # A copy, as a batch is made when it is read.
                sums.add(task, pretrained, head, batch.clone(), labels)
        sums.solve(averages)

    found = peak(show)
    memory = estimate(SampleMerging(suite, method), 4 * tasks, IMAGES, steps=steps)
    assert memory.optimizer == 0
    assert memory.step - bytes_of(BACKBONE.build()) == pytest.approx(found, rel=TOLERANCE)

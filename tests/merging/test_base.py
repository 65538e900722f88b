"""What holds for every merge method, and which encoders can be merged block by block."""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from weakref import ref

import pytest
import timm
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, shapes_of
from wemoe_pl.errors import ConfigError, MergeError
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.base import UPSCALABLE, MergeMethod, blocks_of, checked_method
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.moe.low_rank import LowRank

METHODS = [
    *(Pretrained(), Individual(), TaskArithmetic(), AdaMerging(), AdaMerging("task", keep=0.2)),
    *(WEMoE(), EWEMoE(), WEMoE(compression=LowRank(rank=4))),
]
MERGING = METHODS[1:]
ROUTED = [WEMoE(router_depth=depth) for depth in (0, 1)]
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Recorder:
    """Makes experts whose weights are read when asked for, and notes every read.

    Attributes:
        reads: the task and key of every read.
        most_alive: how many tensors, this read's included, were in memory at once.
    """

    def __init__(self) -> None:
        self.reads: list[tuple[str, str]] = []
        self.most_alive = 0
        self._tensors: list[ref[Tensor]] = []

    def lazy(self, experts: Mapping[str, nn.Module]) -> dict[str, LazyState]:
        """The experts, read by copies: as from a file."""
        return {task: self._expert(task, expert) for task, expert in experts.items()}

    def _expert(self, task: str, expert: nn.Module) -> LazyState:
        state = expert.state_dict()

        def read(key: str) -> Tensor:
            self.reads.append((task, key))
            tensor = state[key].clone()
            self._tensors = [other for other in self._tensors if other() is not None]
            self._tensors.append(ref(tensor))
            self.most_alive = max(self.most_alive, len(self._tensors))
            return tensor

        return LazyState(shapes_of(state), read)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_merging_shares_nothing_with_its_arguments_and_leaves_them_untouched(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    arguments = [pretrained, *experts.values()]
    before = deepcopy(arguments)
    merged = method.merge(pretrained, experts)
    for tensor in (*merged.parameters(), *merged.buffers()):
        tensor.data.zero_()
    for argument, original in zip(arguments, before, strict=True):
        assert str(argument) == str(original)
        torch.testing.assert_close(argument.state_dict(), original.state_dict(), rtol=0, atol=0)
        for weight, twin in zip(argument.parameters(), original.parameters(), strict=True):
            assert weight.requires_grad == twin.requires_grad


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_nothing_but_routers_and_coefficients_is_trainable(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    merged = method.merge(pretrained, experts)
    trainable = {name for name, weight in merged.named_parameters() if weight.requires_grad}
    names = {name for name, _ in merged.named_parameters()}
    assert trainable == {n for n in names if ".router." in n or n == "coefficients"}


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("training", [False, True])
def test_the_merged_encoder_is_in_the_mode_of_its_sources(
    method: MergeMethod, training: bool, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    sources = [deepcopy(model).train(training) for model in (pretrained, *experts.values())]
    merged = method.merge(sources[0], dict(zip(experts, sources[1:], strict=True)))
    layers = [module for module in merged.modules() if not list(module.children())]
    assert {layer.training for layer in layers} == {training}


@pytest.mark.parametrize("method", MERGING, ids=repr)
def test_no_expert_is_refused(method: MergeMethod, pretrained: nn.Module) -> None:
    with pytest.raises(MergeError, match="no expert"):
        method.merge(pretrained, {})


def test_the_blocks_of_an_encoder_are_its_own(pretrained: nn.Module) -> None:
    assert blocks_of(pretrained) is pretrained.blocks


@pytest.mark.parametrize("blocks", [None, nn.ModuleList(), nn.Linear(1, 1)], ids=repr)
def test_an_encoder_without_blocks_is_refused_by_name(blocks: nn.Module | None) -> None:
    encoder = nn.Flatten()
    encoder.register_module("blocks", blocks)
    with pytest.raises(MergeError, match=r"Cannot upscale a Flatten: .* `blocks`"):
        blocks_of(encoder)


def test_the_block_without_an_mlp_is_named() -> None:
    encoder, good, bad = nn.Flatten(), nn.Identity(), nn.Softmax()
    good.mlp = nn.Identity()
    encoder.blocks = nn.Sequential(good, bad)
    with pytest.raises(MergeError, match=r"Flatten: its blocks\[1\], a Softmax, has no `mlp`"):
        blocks_of(encoder)


@pytest.mark.parametrize("name", UPSCALABLE)
def test_the_backbones_that_are_proposed_can_be_upscaled(name: str) -> None:
    with torch.device("meta"):
        assert len(blocks_of(timm.create_model(name)))
    with pytest.raises(MergeError, match=name):
        blocks_of(nn.Flatten())


def test_a_method_whose_options_could_not_be_written_down_is_refused() -> None:
    class Own(Pretrained):
        def merge(self, pretrained: nn.Module, experts: Mapping[str, Any]) -> nn.Module:
            return pretrained

    class Bare(MergeMethod):
        merge = Own.merge

    class Lost(Bare):
        def __init__(self, power: float = 2.0):
            self.power = power

    for method in (Own(), Bare()):
        assert checked_method(method) is method
    with pytest.raises(ConfigError, match=r"Lost has options and is not a dataclass: put @"):
        checked_method(Lost())


# --- experts as weights ----------------------------------------------------------------------


@pytest.mark.parametrize("method", [*METHODS, *ROUTED], ids=repr)
@pytest.mark.parametrize("kind", ["states", "lazy", "mixed"])
def test_experts_may_be_modules_or_their_weights_in_memory_or_read_when_asked_for(
    kind: str, method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    lazy = Recorder().lazy(experts)
    states = {task: expert.state_dict() for task, expert in experts.items()}
    given: dict[str, Mapping[str, Mapping[str, Tensor] | nn.Module]] = {
        "states": states,
        "lazy": lazy,
        "mixed": {"cars": experts["cars"], "dtd": lazy["dtd"], "mnist": states["mnist"]},
    }
    torch.manual_seed(0)  # the routers start with noise
    expected = method.merge(pretrained, experts)
    torch.manual_seed(0)
    actual = method.merge(pretrained, given[kind])
    for task in experts:
        told = (task,) if isinstance(method, Individual) else ()
        assert torch.equal(actual(IMAGES, *told), expected(IMAGES, *told))
        assert actual.state_dict().keys() == expected.state_dict().keys()
        for key, tensor in expected.state_dict().items():
            assert torch.equal(actual.state_dict()[key], tensor)


@pytest.mark.parametrize("method", [TaskArithmetic(), WEMoE()], ids=repr)
def test_lazy_experts_are_read_tensor_by_tensor_and_every_tensor_once(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    recorder = Recorder()
    method.merge(pretrained, recorder.lazy(experts))
    expected = [(task, key) for task in experts for key in pretrained.state_dict()]
    assert Counter(recorder.reads) == Counter(expected)
    assert recorder.most_alive == 1


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_nothing_of_lazy_experts_is_read_that_is_not_needed(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    recorder = Recorder()
    merged = method.merge(pretrained, recorder.lazy(experts))
    if isinstance(method, Individual | Pretrained):
        assert recorder.reads == []
    if isinstance(method, Individual):
        merged(IMAGES, "dtd")
        assert recorder.reads == [("dtd", key) for key in pretrained.state_dict()]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_states_are_left_untouched(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    states = {task: deepcopy(dict(expert.state_dict())) for task, expert in experts.items()}
    merged = method.merge(pretrained, states)
    if isinstance(method, Individual):
        merged(IMAGES, "cars")
    for tensor in (*merged.parameters(), *merged.buffers()):
        tensor.data.zero_()
    for task, expert in experts.items():
        torch.testing.assert_close(states[task], dict(expert.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize(
    "method", [Pretrained(), TaskArithmetic(), AdaMerging(), WEMoE(), EWEMoE()], ids=repr
)
def test_the_merged_encoder_is_where_the_pretrained_one_is(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    elsewhere = deepcopy(pretrained).to("meta")  # stands for a GPU
    merged = method.merge(elsewhere, Recorder().lazy(experts))
    assert all(tensor.is_meta for tensor in (*merged.parameters(), *merged.buffers()))
    assert merged(IMAGES.to("meta")).shape == (2, 16)


DAMAGE: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "missing": ({"blocks.1.mlp.fc1.bias": None}, r"'blocks\.1\.mlp\.fc1\.bias' is missing"),
    "extra": ({"neck.bias": torch.zeros(3)}, r"'neck\.bias' is not a part of it"),
    "extra in an MLP": (
        {"blocks.0.mlp.norm.bias": torch.zeros(3)},
        r"'blocks\.0\.mlp\.norm\.bias' is not a part of it",
    ),
    "wrong shape": (
        {"blocks.0.mlp.fc2.bias": torch.zeros(3), "pos_embed": torch.zeros(1, 9, 16)},
        r"'pos_embed' has shape \(1, 9, 16\) instead of \(1, 5, 16\)",
    ),
}


@pytest.mark.parametrize("method", MERGING, ids=repr)
@pytest.mark.parametrize("damage", DAMAGE)
def test_an_expert_that_does_not_fit_is_refused_by_name_before_any_is_read(
    damage: str, method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    changes, complaint = DAMAGE[damage]
    state = dict(experts["mnist"].state_dict()) | changes
    recorder = Recorder()
    shapes = {key: tensor.shape for key, tensor in state.items() if tensor is not None}
    lazy = recorder.lazy(experts)
    lazy["mnist"] = LazyState(shapes, lazy["mnist"].__getitem__)
    with pytest.raises(MergeError, match=rf"Expert 'mnist' does not fit .*: {complaint}"):
        method.merge(pretrained, lazy)
    assert recorder.reads == []


# --- classifiers -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", MERGING, ids=repr)
@pytest.mark.parametrize("as_states", [False, True])
def test_the_heads_of_classifiers_are_left_out_where_the_pretrained_encoder_has_none(
    as_states: bool, method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    classifiers: dict[str, Any] = {}
    for classes, (task, expert) in enumerate(experts.items(), start=3):
        classifiers[task] = deepcopy(expert)
        classifiers[task].reset_classifier(classes)
    given = {t: c.state_dict() for t, c in classifiers.items()} if as_states else classifiers
    torch.manual_seed(0)  # the routers start with noise
    expected = method.merge(pretrained, experts)
    torch.manual_seed(0)
    actual = method.merge(pretrained, given)
    arguments = (IMAGES, "dtd") if isinstance(method, Individual) else (IMAGES,)
    assert torch.equal(actual(*arguments), expected(*arguments))
    assert actual.state_dict().keys() == expected.state_dict().keys()


@pytest.mark.parametrize("method", MERGING, ids=repr)
def test_a_pretrained_classifier_is_asked_to_give_up_its_head(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    classifier: Any = deepcopy(pretrained)
    classifier.reset_classifier(1000)
    small: Any = deepcopy(experts["cars"])
    small.reset_classifier(5)
    for expert, difference in (
        (small, r"'head\.weight' has shape \(5, 16\) instead of \(1000, 16\)"),
        (experts["cars"], r"'head\.weight' is missing"),
    ):
        complaint = (
            rf"^Expert 'cars' does not fit the pretrained model: {difference}\. Only the "
            r"classifiers' heads differ: call `reset_classifier\(0\)` on every model, and keep"
        )
        with pytest.raises(MergeError, match=complaint):
            method.merge(classifier, {"cars": expert})


def test_heads_of_one_shape_such_as_clips_projection_are_merged(
    pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    models: list[Any] = [deepcopy(pretrained), deepcopy(experts["cars"])]
    for model in models:
        model.reset_classifier(4)
    merged: Any = TaskArithmetic(1.0).merge(models[0], {"cars": models[1]})
    torch.testing.assert_close(merged.head.weight, models[1].head.weight)


def test_models_of_timms_are_merged_without_lightning_and_without_a_suite() -> None:
    """By every method that needs no samples, and those that do."""
    program = """
import sys, timm, torch, wemoe_pl
small = dict(img_size=32, patch_size=16, embed_dim=16, depth=2, num_heads=2)
names = ["pretrained", "cars", "mnist"]
models = [timm.create_model("vit_tiny_patch16_224", num_classes=n, **small) for n in (0, 5, 7)]
pretrained, experts = models[0], dict(zip(names[1:], models[1:]))
for kind in (wemoe_pl.Pretrained, wemoe_pl.SimpleAverage, wemoe_pl.TaskArithmetic, wemoe_pl.TIES):
    assert kind.is_static
    merged = kind().merge(pretrained, experts)
    assert type(merged) is type(pretrained)
    assert merged(torch.randn(1, 3, 32, 32)).shape == (1, 16)
samples = {task: [(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))] for task in experts}
heads = {task: torch.nn.Linear(16, 3) for task in experts}
for kind in (wemoe_pl.Fisher, wemoe_pl.RegMean):
    merged = kind().merge_with_samples(pretrained, experts, samples, heads)
    assert type(merged) is type(pretrained)
assert not {"lightning", "pytorch_lightning", "torchmetrics"} & set(sys.modules)
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr

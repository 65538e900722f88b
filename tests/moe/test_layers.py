"""The router and the mixture, against a slow reference that loops over samples and tokens."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from timm.layers import RmsNorm
from timm.layers.mlp import (
    ConvMlp,
    GatedMlp,
    GlobalResponseNormMlp,
    GluMlp,
    Mlp,
    SwiGLU,
    SwiGLUPacked,
)
from timm.models.mlp_mixer import SpatialGatingBlock
from torch import Tensor, nn
from torch.nn import functional

from wemoe_pl.checkpoints import LazyState, shapes_of
from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense, DenseVectors
from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.kernels import merged_mlp
from wemoe_pl.moe.layers import WeightEnsemblingMoE
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.mixture import RoutingMode
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.router import Router

B, N, D, HIDDEN, T = 4, 5, 6, 8, 3

Weights = Mapping[str, Tensor]
Form = Callable[[], nn.Module]
Forward = Callable[[Weights, Tensor], Tensor]

DEPTHS = pytest.mark.parametrize("depth", [0, 1, 2])
SHAPES = pytest.mark.parametrize("shape", [(B, N, D), (B, D)], ids=["tokens", "features"])


# --- the slow reference: nothing below uses wemoe_pl -----------------------------------------


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def norm(w: Weights, x: Tensor) -> Tensor:
    if "norm.weight" not in w:
        return x
    if "norm.bias" not in w:
        return functional.rms_norm(x, x.shape[-1:], w["norm.weight"], eps=1e-6)
    return functional.layer_norm(x, x.shape[-1:], w["norm.weight"], w["norm.bias"])


def mlp(w: Weights, x: Tensor) -> Tensor:
    return linear(w, "fc2", norm(w, functional.gelu(linear(w, "fc1", x))))


def glu(w: Weights, x: Tensor) -> Tensor:
    value, gate = linear(w, "fc1", x).chunk(2, dim=-1)
    return linear(w, "fc2", norm(w, value * gate.sigmoid()))


def swiglu_packed(w: Weights, x: Tensor) -> Tensor:
    gate, value = linear(w, "fc1", x).chunk(2, dim=-1)
    return linear(w, "fc2", norm(w, gate * gate.sigmoid() * value))


def swiglu(w: Weights, x: Tensor) -> Tensor:
    gate = linear(w, "fc1_g", x)
    return linear(w, "fc2", norm(w, gate * gate.sigmoid() * linear(w, "fc1_x", x)))


def route(router: Weights, tokens: Tensor) -> Tensor:
    """Tokens (N, D) of one sample → (T,): every token on its own, then the average."""
    if "weights" in router:
        return router["weights"]
    answers = []
    for token in tokens:
        if "hidden.weight" in router:
            token = linear(router, "hidden", token).clamp(min=0)
        answers.append(linear(router, "out", token))
    return torch.stack(answers).mean(dim=0)


def merge(pretrained: nn.Module, experts: list[nn.Module], routing: Tensor) -> Weights:
    """W0 + Σ_i r_i (W_i − W0), parameter by parameter."""
    merged: dict[str, Tensor] = {}
    for name, weight in pretrained.named_parameters():
        merged[name] = weight
        for r, expert in zip(routing, experts, strict=True):
            merged[name] = merged[name] + r * (expert.get_parameter(name) - weight)
    return merged


def mixture(
    forward: Forward, pretrained: nn.Module, experts: list[nn.Module], router: Weights, x: Tensor
) -> Tensor:
    outputs = []
    for sample in x:
        routing = route(router, sample.reshape(-1, D))
        outputs.append(forward(merge(pretrained, experts, routing), sample))
    return torch.stack(outputs)


FORMS: dict[str, tuple[Form, Forward]] = {
    "Mlp": (partial(Mlp, D, HIDDEN), mlp),
    "Mlp without bias": (partial(Mlp, D, HIDDEN, bias=False), mlp),
    "Mlp with norm": (partial(Mlp, D, HIDDEN, norm_layer=nn.LayerNorm), mlp),
    "Mlp with RmsNorm": (partial(Mlp, D, HIDDEN, norm_layer=RmsNorm), mlp),
    "GluMlp": (partial(GluMlp, D, HIDDEN), glu),
    "SwiGLU": (partial(SwiGLU, D, HIDDEN), swiglu),
    "SwiGLU with norm": (partial(SwiGLU, D, HIDDEN, norm_layer=nn.LayerNorm), swiglu),
    "SwiGLUPacked": (partial(SwiGLUPacked, D, HIDDEN), swiglu_packed),
    "GatedMlp without gate": (partial(GatedMlp, D, HIDDEN), mlp),
}


# --- helpers ---------------------------------------------------------------------------------


def randomised(module: nn.Module, seed: int, std: float = 0.5) -> nn.Module:
    """The module in float64, every parameter drawn anew: no zero hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for weight in module.double().parameters():
        nn.init.normal_(weight, std=std, generator=generator)
    return module


def sources(form: Form = FORMS["Mlp"][0], experts: int = T) -> tuple[nn.Module, list[nn.Module]]:
    """A pretrained MLP and its experts."""
    pretrained, *others = (randomised(form(), seed) for seed in range(experts + 1))
    return pretrained, others


def random_x(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(99), dtype=torch.float64)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return ((actual - expected).norm() / expected.norm()).item()


def trained(depth: int, form: Form = FORMS["Mlp"][0]) -> WeightEnsemblingMoE:
    """A mixture whose router is far from its initial value, as after adaptation."""
    moe = WeightEnsemblingMoE(*sources(form), router_depth=depth)
    randomised(moe.router, seed=7)
    return moe


def silence(router: nn.Module) -> None:
    """Take the initial noise out of a router: only λ is left."""
    for name, weight in router.named_parameters():
        if name.endswith("weight"):
            nn.init.zeros_(weight)


# --- what it computes ------------------------------------------------------------------------


@SHAPES
@DEPTHS
@pytest.mark.parametrize("form", FORMS)
def test_output_and_gradients_match_the_slow_reference(
    form: str, depth: int, shape: tuple[int, ...]
) -> None:
    create, forward = FORMS[form]
    moe, x = trained(depth, create), random_x(*shape).requires_grad_()
    router = dict(moe.router.named_parameters())
    actual, expected = moe(x), mixture(forward, *sources(create), router, x)
    assert actual.shape == shape
    assert relative_error(actual, expected) <= 1e-9

    cotangent = random_x(*shape).flip(0)
    wanted = [x, *router.values()]
    gradients = torch.autograd.grad(actual, wanted, cotangent)
    references = torch.autograd.grad(expected, wanted, cotangent)
    for gradient, reference in zip(gradients, references, strict=True):
        assert relative_error(gradient, reference) <= 1e-9


@SHAPES
@DEPTHS
def test_a_sample_does_not_depend_on_the_rest_of_its_batch(
    depth: int, shape: tuple[int, ...]
) -> None:
    moe, x = trained(depth), random_x(*shape)
    together = moe(x)
    for b in range(B):
        assert relative_error(together[b], moe(x[b : b + 1])[0]) <= 1e-12


@DEPTHS
def test_no_gradient_flows_from_one_sample_to_another(depth: int) -> None:
    x = random_x(B, N, D).requires_grad_()
    (gradient,) = torch.autograd.grad(trained(depth)(x)[0].sum(), x)
    assert gradient[0].any()
    assert not gradient[1:].any()


@pytest.mark.parametrize(
    ("depth", "routing", "merged"),
    [(0, "sample", 1), (0, "batch", 1), (1, "batch", 1), (1, "sample", B), (2, "sample", B)],
)
def test_weights_are_merged_once_for_all_samples_that_are_routed_alike(
    monkeypatch: pytest.MonkeyPatch, depth: int, routing: RoutingMode, merged: int
) -> None:
    asked: list[Tensor] = []

    def recorded(
        mlp: nn.Module, dictionary: Dictionary, shares: Tensor, x: Tensor, one_by_one: bool
    ) -> Tensor:
        asked.append(shares)
        return merged_mlp(mlp, dictionary, shares, x, one_by_one)

    monkeypatch.setattr("wemoe_pl.moe.layers.merged_mlp", recorded)
    moe = WeightEnsemblingMoE(*sources(), router_depth=depth, routing=routing)
    moe.record_routing = True
    moe(random_x(B, N, D))
    assert [shares.shape for shares in asked] == [(merged, T)]
    assert moe.routing_weights is not None
    assert torch.equal(moe.routing_weights, asked[0].detach().expand(B, T))


@DEPTHS
def test_at_initialisation_it_is_task_arithmetic_up_to_router_noise(depth: int) -> None:
    torch.manual_seed(0)
    pretrained, experts = sources()
    moe = WeightEnsemblingMoE(pretrained, experts, init_lambda=0.25, router_depth=depth)
    x = random_x(B, N, D)
    expected = mlp(merge(pretrained, experts, torch.full((T,), 0.25)), x)
    noise = (moe.router(x) - 0.25).abs().max().item()
    assert noise <= 0.06  # five deviations of a mean of 5 sums of 6 products with N(0, 0.01)
    silence(moe.router)
    assert relative_error(moe(x), expected) <= 1e-9


@DEPTHS
def test_one_expert_at_lambda_one_is_that_expert(depth: int) -> None:
    pretrained, [expert] = sources(experts=1)
    moe = WeightEnsemblingMoE(pretrained, [expert], init_lambda=1.0, router_depth=depth)
    silence(moe.router)
    assert relative_error(moe(random_x(B, N, D)), expert(random_x(B, N, D))) <= 1e-9


def test_identical_experts_share_their_routing_weights() -> None:
    pretrained, [expert] = sources(experts=1)
    moe = WeightEnsemblingMoE(pretrained, [expert] * 4, init_lambda=0.25, router_depth=0)
    assert relative_error(moe(random_x(B, N, D)), expert(random_x(B, N, D))) <= 1e-9


def test_the_order_of_experts_is_the_order_of_routing_weights() -> None:
    pretrained, experts = sources()
    moe = trained(depth=1)
    shuffled = WeightEnsemblingMoE(pretrained, experts[::-1], router_depth=1)
    rows = {name: weight.flip(0) for name, weight in moe.router.state_dict().items()}
    shuffled.router.load_state_dict(rows)
    assert relative_error(shuffled(random_x(B, N, D)), moe(random_x(B, N, D))) <= 1e-12


@DEPTHS
def test_bfloat16_autocast_changes_the_output_by_rounding_only(depth: int) -> None:
    moe, x = trained(depth).float(), random_x(B, N, D).float()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = moe(x)
    assert relative_error(rounded.float(), moe(x)) <= 0.05


# --- what it is ------------------------------------------------------------------------------


@DEPTHS
def test_only_the_router_is_trainable(depth: int) -> None:
    moe = WeightEnsemblingMoE(*sources(), router_depth=depth)
    trainable = {name for name, weight in moe.named_parameters() if weight.requires_grad}
    assert trainable == {f"router.{name}" for name, _ in moe.router.named_parameters()}


def test_its_arguments_are_left_untouched() -> None:
    pretrained, experts = sources()
    pretrained.requires_grad_(False)
    before = deepcopy([pretrained, *experts])
    moe = WeightEnsemblingMoE(pretrained, experts)
    moe(random_x(B, N, D)).sum().backward()
    for weight in moe.state_dict().values():
        weight.zero_()
    for module, original in zip([pretrained, *experts], before, strict=True):
        torch.testing.assert_close(module.state_dict(), original.state_dict(), rtol=0, atol=0)
        for weight, twin in zip(module.parameters(), original.parameters(), strict=True):
            assert weight.requires_grad == twin.requires_grad
            assert weight.grad is None


def test_routing_weights_are_kept_when_asked_for() -> None:
    moe, x = trained(depth=2), random_x(B, N, D)
    moe(x)
    assert moe.routing_weights is None
    moe.record_routing = True
    moe(x)
    router = dict(moe.router.named_parameters())
    expected = torch.stack([route(router, sample) for sample in x])
    assert moe.routing_weights is not None
    assert not moe.routing_weights.requires_grad
    assert moe.routing_weights.shape == (B, T)
    torch.testing.assert_close(moe.routing_weights, expected.detach())
    moe.record_routing = False
    moe(x)
    assert moe.routing_weights is None


class Tempered(nn.Module):
    """An activation that holds a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return x / self.get_buffer("temperature")


def test_buffers_of_the_pretrained_mlp_are_carried() -> None:
    pretrained, experts = sources(partial(Mlp, D, HIDDEN, act_layer=Tempered))
    pretrained.get_buffer("act.temperature").fill_(4.0)
    moe = WeightEnsemblingMoE(pretrained, experts, init_lambda=0.0, router_depth=0)
    assert moe.state_dict()["mlp.act.temperature"] == 4.0
    assert relative_error(moe(random_x(B, D)), pretrained(random_x(B, D))) <= 1e-12


@DEPTHS
def test_a_state_dict_carries_the_whole_mixture(depth: int) -> None:
    moe, x = trained(depth), random_x(B, N, D)
    pretrained, experts = sources()
    other = WeightEnsemblingMoE(experts[0], [pretrained] * T, router_depth=depth)
    assert relative_error(other(x), moe(x)) > 0.1
    other.load_state_dict(moe.state_dict())
    assert torch.equal(other(x), moe(x))


def test_a_deep_copy_computes_the_same_and_shares_nothing() -> None:
    moe, x = trained(depth=2), random_x(B, N, D)
    expected, copy = moe(x), deepcopy(moe)
    assert torch.equal(copy(x), expected)
    for weight in copy.state_dict().values():
        weight.zero_()
    assert torch.equal(moe(x), expected)


@DEPTHS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_it_has_the_dtype_of_the_pretrained_mlp(dtype: torch.dtype, depth: int) -> None:
    pretrained, experts = sources()
    moe = WeightEnsemblingMoE(
        pretrained.to(dtype), [expert.to(dtype) for expert in experts], router_depth=depth
    )
    assert {weight.dtype for weight in moe.parameters()} == {dtype}
    assert moe(random_x(B, N, D).to(dtype)).dtype == dtype


# --- experts as weights ----------------------------------------------------------------------


def recorded(mlp: nn.Module, reads: list[str]) -> LazyState:
    """The weights of an MLP, read when asked for; every read is noted."""
    state = mlp.state_dict()

    def read(key: str) -> Tensor:
        reads.append(key)
        return state[key]

    return LazyState(shapes_of(state), read)


@pytest.mark.parametrize("form", FORMS)
def test_experts_may_be_modules_or_their_weights_in_memory_or_read_when_asked_for(
    form: str,
) -> None:
    pretrained, experts = sources(FORMS[form][0])
    reads: list[str] = []
    kinds = (
        experts,
        [expert.state_dict() for expert in experts],
        [recorded(expert, reads) for expert in experts],
    )
    modules, states, lazy = (
        WeightEnsemblingMoE(pretrained, kind, router_depth=0).state_dict() for kind in kinds
    )
    for key, tensor in modules.items():
        assert torch.equal(states[key], tensor)
        assert torch.equal(lazy[key], tensor)
    assert sorted(reads) == sorted(list(pretrained.state_dict()) * T)  # each once


def test_the_dictionary_holds_the_task_vectors_in_the_order_of_experts() -> None:
    pretrained, experts = sources()
    moe = WeightEnsemblingMoE(pretrained, [expert.state_dict() for expert in experts])
    for name, weight in pretrained.named_parameters():
        vectors = moe.task_vectors.get_submodule(name)
        assert isinstance(vectors, DenseVectors)
        assert vectors.stacked.shape == (T, *weight.shape)
        for row, expert in zip(vectors.stacked, experts, strict=True):
            assert torch.equal(row, expert.get_parameter(name) - weight)


def test_lazy_experts_go_where_the_pretrained_mlp_is() -> None:
    pretrained, experts = sources()
    lazy = [recorded(expert, []) for expert in experts]
    moe = WeightEnsemblingMoE(pretrained.to("meta"), lazy)
    assert all(weight.is_meta for weight in moe.parameters())


# --- what it refuses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        (ConvMlp(D, HIDDEN), "ConvMlp"),
        (Mlp(D, HIDDEN, use_conv=True), "Mlp"),
        (GlobalResponseNormMlp(D, HIDDEN), "GlobalResponseNormMlp.* GlobalResponseNorm "),
        (SpatialGatingBlock(D, seq_len=N).mlp_channels, "GatedMlp.* SpatialGatingUnit "),
        (Mlp(D, HIDDEN, norm_layer=nn.BatchNorm1d), "Mlp.* BatchNorm1d "),
        (nn.Sequential(nn.Linear(D, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, D)), "Sequential"),
    ],
)
def test_an_mlp_of_another_form_is_refused_by_name(foreign: nn.Module, named: str) -> None:
    with pytest.raises(MergeError, match=f"MLP of class {named}"):
        WeightEnsemblingMoE(foreign, [foreign])


def test_no_expert_is_refused() -> None:
    with pytest.raises(MergeError, match="no expert"):
        WeightEnsemblingMoE(Mlp(D, HIDDEN), [])


@pytest.mark.parametrize("shape", [(D,), (B, 2, 2, D)], ids=["vector", "map"])
def test_an_input_that_is_neither_tokens_nor_features_is_refused(shape: tuple[int, ...]) -> None:
    moe = WeightEnsemblingMoE(*sources())
    with pytest.raises(MergeError, match=r"tokens \(B, N, D\) or features \(B, D\), not \("):
        moe(random_x(*shape))


@pytest.mark.parametrize("init_lambda", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_lambda_out_of_range_is_refused(init_lambda: float) -> None:
    with pytest.raises(MergeError, match=f"{init_lambda}.* 0 to 1"):
        WeightEnsemblingMoE(*sources(), init_lambda=init_lambda)


@pytest.mark.parametrize("depth", [-1, 3])
def test_a_router_depth_out_of_range_is_refused(depth: int) -> None:
    with pytest.raises(MergeError, match=f"router_depth is {depth}"):
        WeightEnsemblingMoE(*sources(), router_depth=depth)


@pytest.mark.parametrize(
    ("expert", "complaint"),
    [
        (Mlp(D, 10), r"expert 1 .*'fc1\.weight' .*\(10, 6\) .*\(8, 6\)"),
        (Mlp(D, HIDDEN, bias=(True, False)), r"expert 1 .*'fc2\.bias' is missing"),
        (Mlp(D, HIDDEN, norm_layer=nn.LayerNorm), r"expert 1 .*'norm\.weight' is not a part of it"),
    ],
)
def test_an_expert_that_does_not_fit_is_named_with_its_first_key(
    expert: nn.Module, complaint: str
) -> None:
    with pytest.raises(MergeError, match=complaint):
        WeightEnsemblingMoE(Mlp(D, HIDDEN), [Mlp(D, HIDDEN), expert])
    reads: list[str] = []
    with pytest.raises(MergeError, match=complaint):
        WeightEnsemblingMoE(
            Mlp(D, HIDDEN), [recorded(Mlp(D, HIDDEN), reads), recorded(expert, reads)]
        )
    assert reads == []


# --- routing of batches, initial weights, folding ---------------------------------------------


@pytest.mark.parametrize("shape", [(5, 4, 8), (5, 8)], ids=["tokens", "features"])
def test_a_batch_is_routed_as_a_whole_if_asked_for(shape: tuple[int, ...]) -> None:
    pretrained, *tuned = (Mlp(8, 12).double() for _ in range(4))
    moe = WeightEnsemblingMoE(pretrained, tuned, routing="batch").double()
    for weight in moe.router.parameters():
        nn.init.normal_(weight, std=0.5)
    x = torch.randn(shape, dtype=torch.float64)
    moe.record_routing = True
    actual = moe(x)
    shares = torch.stack([moe.router(sample[None])[0] for sample in x]).mean(dim=0)
    merged = deepcopy(pretrained)
    for name, weight in merged.named_parameters():
        base = pretrained.get_parameter(name)
        vectors = [expert.get_parameter(name) - base for expert in tuned]
        weight.data += sum(r * v for r, v in zip(shares, vectors, strict=True)).detach()
    torch.testing.assert_close(actual, merged(x), rtol=1e-9, atol=1e-12)
    assert moe.routing_weights is not None
    torch.testing.assert_close(moe.routing_weights, shares.expand(5, 3).detach())


def test_routers_start_with_the_noise_that_is_asked_for() -> None:
    for std in (0.0, 0.5):
        router = Router(64, 3, init_lambda=0.2, depth=2, init_std=std)
        assert router.hidden is not None
        assert router.hidden.weight.std().item() == pytest.approx(std, rel=0.1)
        assert router.out.bias.tolist() == pytest.approx([0.2] * 3)


def test_folding_takes_the_weights_that_every_input_gets() -> None:
    pretrained, *tuned = (Mlp(8, 12) for _ in range(4))
    moe = WeightEnsemblingMoE(pretrained, tuned, router_depth=0)
    nn.init.normal_(moe.router.weights)
    x = torch.randn(5, 4, 8)
    torch.testing.assert_close(moe.fold()(x), moe(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(
        MergeError, match="router of depth 2 mixes the weights anew for every input"
    ):
        WeightEnsemblingMoE(pretrained, tuned).fold()


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"routing": "batch"}, marks=pytest.mark.slow),
        pytest.param({"router_depth": 0}, marks=pytest.mark.slow),
    ],
    ids=str,
)
@pytest.mark.parametrize("compression", [Dense(), Pruned(), LowRank(rank=1)], ids=repr)
def test_it_compiles_whole_and_exports_for_batches_of_any_size(
    compression: Compression, options: dict[str, Any]
) -> None:
    torch._dynamo.reset()  # it counts how often the same code was compiled anew
    pretrained, *experts = (Mlp(8, 32) for _ in range(3))
    moe = WeightEnsemblingMoE(pretrained, experts, compression=compression, **options).eval()
    x = torch.randn(5, 3, 8)
    compiled = torch.compile(moe, fullgraph=True, dynamic=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), moe(x))
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(moe, (x,), dynamic_shapes=shapes).module()
    for samples in (2, 9):
        x = torch.randn(samples, 3, 8)
        torch.testing.assert_close(exported(x), moe(x))

"""What was adapted without looking at the input becomes plain weights."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.folding import fold, folds
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.layers import WeightEnsemblingMoE
from wemoe_pl.moe.mixture import mixtures_of

Experts = dict[str, nn.Module]
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", [WEMoE(router_depth=0), EWEMoE(router_depth=0)], ids=repr)
def test_depth_0_folds_into_a_plain_encoder_of_the_same_function(
    method: WEMoE, pretrained: nn.Module, experts: Experts
) -> None:
    encoder = method.merge(pretrained, experts)
    for name, weight in encoder.named_parameters():
        if weight.requires_grad:
            assert name.endswith("router.weights")
            nn.init.normal_(weight, 0.3, 0.3)
    folded = fold(encoder)
    assert not any(isinstance(module, WeightEnsemblingMoE) for module in folded.modules())
    assert {k: w.shape for k, w in folded.state_dict().items()} == {
        k: w.shape for k, w in pretrained.state_dict().items()
    }
    torch.testing.assert_close(folded(IMAGES), encoder(IMAGES), rtol=1e-4, atol=1e-5)
    upscaled = [m for m in encoder.modules() if isinstance(m, WeightEnsemblingMoE)]
    assert len(upscaled) == 2  # it was left as it was


@pytest.mark.parametrize("method", [WEMoE(attention=Dense()), EWEMoE(), WEMoE()], ids=repr)
def test_given_routing_weights_take_the_place_of_the_routers(
    method: WEMoE, pretrained: nn.Module, experts: Experts
) -> None:
    """In float64: θ0 plus the weighted task vectors in mixed parts, and the merge elsewhere."""
    pretrained = deepcopy(pretrained).double()
    experts = {task: deepcopy(expert).double() for task, expert in experts.items()}
    encoder = method.merge(pretrained, experts)
    mixtures = mixtures_of(encoder)
    routing_weights = torch.randn(len(mixtures), len(experts)).double()
    folded = fold(encoder, routing_weights).state_dict()
    rest = TaskArithmetic().merge(pretrained, experts).state_dict()
    for key, value in folded.items():
        block = next((i for i, name in enumerate(mixtures) if key.startswith(f"{name}.")), None)
        if block is None:
            expected = rest[key]
        else:
            name = [*mixtures][block]
            vectors = mixtures[name].task_vectors.mix(torch.eye(len(experts)).double())
            one = pretrained.state_dict()[key]
            of_each = vectors[key.removeprefix(f"{name}.")]
            expected = one + sum(
                r * v for r, v in zip(routing_weights[block], of_each, strict=True)
            )
            if isinstance(method.compression, Dense):
                own = [expert.state_dict()[key] - one for expert in experts.values()]
                torch.testing.assert_close(of_each, torch.stack(own), rtol=0, atol=1e-12)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


def test_routing_weights_of_another_shape_are_refused(
    pretrained: nn.Module, experts: Experts
) -> None:
    encoder = WEMoE().merge(pretrained, experts)
    with pytest.raises(MergeError, match=r"shape \(3, 1\) .* 2 mixtures of 3 experts"):
        fold(encoder, torch.zeros(3, 1))
    plain = TaskArithmetic().merge(pretrained, experts)
    with pytest.raises(MergeError, match="with 0 mixtures"):
        fold(plain, torch.zeros(2, 3))


@pytest.mark.parametrize("depth", [1, 2])
def test_routers_that_look_at_their_input_do_not_fold(
    depth: int, pretrained: nn.Module, experts: Experts
) -> None:
    encoder = WEMoE(router_depth=depth).merge(pretrained, experts)
    with pytest.raises(
        MergeError, match=f"router of depth {depth} mixes the weights anew for every input"
    ):
        fold(encoder)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (WEMoE(router_depth=0), True),
        (WEMoE(router_depth=1), False),
        (EWEMoE(router_depth=0), True),
        (AdaMerging(), True),
        (TaskArithmetic(), False),
    ],
    ids=repr,
)
def test_what_folds_is_known(
    method: MergeMethod, expected: bool, pretrained: nn.Module, experts: Experts
) -> None:
    assert folds(method.merge(pretrained, experts)) is expected

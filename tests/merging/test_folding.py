"""What was adapted without looking at the input becomes plain weights."""

import pytest
import torch
from torch import nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.folding import fold, folds
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.moe.layers import WeightEnsemblingMoE

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

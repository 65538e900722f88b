"""Which MLPs are known to be two layers."""

from collections.abc import Callable

import pytest
import torch
from helpers.merged_reference import dictionary
from timm.layers import GluMlp, SwiGLU
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from wemoe_pl.moe.kernels.two_layers import store_fc2_by_columns, two_layers


class Doubled(Mlp):
    """Not what its parts say."""

    def forward(self, x: Tensor) -> Tensor:
        doubled: Tensor = 2 * super().forward(x)  # type: ignore[no-untyped-call]
        return doubled


class Swept(nn.Module):
    """An activation that looks at more than one entry."""

    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(dim=-1)


FOREIGN: dict[str, Callable[[], nn.Module]] = {
    "subclass": lambda: Doubled(4, 8),
    "norm": lambda: Mlp(4, 8, norm_layer=nn.LayerNorm),
    "gated": lambda: GluMlp(4, 8),
    "two inputs": lambda: SwiGLU(4, 8),
    "activation": lambda: Mlp(4, 8, act_layer=Swept),
    "in place": lambda: Mlp(4, 8, act_layer=lambda: nn.ReLU(inplace=True)),  # type: ignore[arg-type]
    "dropout": lambda: Mlp(4, 8, drop=0.5).train(),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_an_mlp_that_does_something_else_is_left_to_its_own_forward(name: str) -> None:
    mlp = FOREIGN[name]().double()
    assert two_layers(mlp, dictionary(mlp)) is None


def test_dropout_is_nothing_outside_training() -> None:
    mlp = Mlp(4, 8, drop=0.5).double().eval()
    assert two_layers(mlp, dictionary(mlp)) is not None


def test_columns_are_stored_together_and_weights_stay_what_they_were() -> None:
    mlp = Mlp(4, 8)
    before = mlp.fc2.weight.clone()
    assert store_fc2_by_columns(mlp) is mlp
    assert torch.equal(mlp.fc2.weight, before)
    assert mlp.fc2.weight[:, 3].is_contiguous()
    assert isinstance(mlp.fc2.weight, nn.Parameter)

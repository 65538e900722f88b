"""What is wrapped: any static method, and nothing that is none."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.cart import CART
from wemoe_pl.merging.emr import EMR
from wemoe_pl.merging.fisher import Fisher
from wemoe_pl.merging.iso import IsoC
from wemoe_pl.merging.lines import LiNeS
from wemoe_pl.merging.smile import SMILE
from wemoe_pl.merging.svc import SVC
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.ties import TIES
from wemoe_pl.merging.tsv import TSVM
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.merging.wrapper import Wrapper

Experts = dict[str, nn.Module]
STATIC = [TaskArithmetic(), SimpleAverage(), TIES(), TSVM(), IsoC(), CART(), SVC(TSVM())]
WRAPPERS = pytest.mark.parametrize("wrapper", [LiNeS, SVC])


@WRAPPERS
@pytest.mark.parametrize("method", STATIC, ids=lambda method: method.label)
def test_any_static_method_is_wrapped(
    method: MergeMethod, wrapper: type[Wrapper], doubled: tuple[nn.Module, Experts]
) -> None:
    before = deepcopy(doubled)
    plain, changed = (m.merge(*doubled).state_dict() for m in (method, wrapper(method)))
    assert plain.keys() == changed.keys()
    assert all(weight.isfinite().all() for weight in changed.values())
    assert not all(torch.equal(plain[key], changed[key]) for key in plain)
    for model, original in zip((doubled[0], *doubled[1].values()),
                               (before[0], *before[1].values()), strict=True):  # fmt: skip
        torch.testing.assert_close(model.state_dict(), original.state_dict(), rtol=0, atol=0)


@WRAPPERS
def test_what_did_not_move_stays(
    wrapper: type[Wrapper], doubled: tuple[nn.Module, Experts]
) -> None:
    merged = wrapper(Pretrained()).merge(*doubled)
    torch.testing.assert_close(merged.state_dict(), doubled[0].state_dict())


@WRAPPERS
def test_names_of_both_are_shown(wrapper: type[Wrapper]) -> None:
    assert wrapper(TSVM()).label == f"TSV-M + {wrapper.__name__}"


@WRAPPERS
@pytest.mark.parametrize("method", [WEMoE(), Fisher(), Individual(), EMR(), SMILE()], ids=repr)
def test_what_gives_no_final_weights_is_refused(
    method: MergeMethod, wrapper: type[Wrapper]
) -> None:
    name = method.label.split()[0]
    with pytest.raises(MergeError, match=rf"{wrapper.__name__} works on .* {name}.* gives no f"):
        wrapper(method)

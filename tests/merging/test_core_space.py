"""Merging in core space gives what merging the matrices themselves gives."""

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.cart import CART
from wemoe_pl.merging.core_space import CoreSpace, in_core
from wemoe_pl.merging.iso import IsoC
from wemoe_pl.merging.matrix_method import MatrixMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.tsv import TSVM
from wemoe_pl.merging.wudi import WUDI

T, M, N, R = 4, 20, 30, 3


def products(seed: int = 0) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """The factors of T matrices, and the matrices, in float64."""
    generator = torch.Generator().manual_seed(seed)
    lefts = [torch.randn(M, R, generator=generator, dtype=torch.float64) for _ in range(T)]
    rights = [torch.randn(R, N, generator=generator, dtype=torch.float64) for _ in range(T)]
    return lefts, rights, torch.stack([a @ b for a, b in zip(lefts, rights, strict=True)])


@pytest.mark.parametrize(
    ("method", "factor"),
    [
        (TSVM(), 1.0),
        (WUDI(), 1.0),
        (IsoC(), M / (T * R)),  # the mean of T R singular values instead of M
    ],
)
def test_it_is_the_method_on_the_whole_matrices(method: MatrixMethod, factor: float) -> None:
    lefts, rights, matrices = products()
    expected = factor * method.combine(matrices)
    torch.testing.assert_close(in_core(method.combine, lefts, rights), expected, rtol=0, atol=1e-6)


def test_spaces_that_coincide_do_no_harm() -> None:
    lefts, rights, _ = products()
    lefts[2], rights[1] = lefts[0], rights[0]
    matrices = torch.stack([a @ b for a, b in zip(lefts, rights, strict=True)])
    merged = in_core(TSVM().combine, lefts, rights)
    torch.testing.assert_close(merged, TSVM().combine(matrices), rtol=0, atol=1e-9)


def test_adapters_of_other_ranks_and_layers_are_cut_off_nowhere() -> None:
    lefts, rights, _ = products()
    ranks = [5, 0, 1, 6]  # one expert leaves this layer alone
    lefts = list(torch.cat(lefts, dim=1).split(ranks, dim=1))
    rights = list(torch.cat(rights).split(ranks))
    matrices = torch.stack([a @ b for a, b in zip(lefts, rights, strict=True)])
    merged = in_core(TSVM().combine, lefts, rights)
    torch.testing.assert_close(merged, TSVM().combine(matrices), rtol=0, atol=1e-9)


def test_factors_of_nothing_merge_to_nothing() -> None:
    nothing = [torch.zeros(M, 0)] * T, [torch.zeros(0, N)] * T
    assert not in_core(TSVM().combine, *nothing).any()


def adapters(
    pretrained: nn.Module, rank: int = 1
) -> tuple[dict[str, LazyState], dict[str, dict[str, Tensor]]]:
    """Experts with factors for all matrices, and the same experts without."""
    base = {key: weight.clone() for key, weight in pretrained.state_dict().items()}
    generator = torch.Generator().manual_seed(0)

    def thin(key: str) -> tuple[Tensor, Tensor] | None:
        weight = base[key]
        if weight.ndim < 2:
            return None
        rows, columns = weight.flatten(1).shape
        return (
            torch.randn(rows, rank, generator=generator, dtype=weight.dtype) / 10,
            torch.randn(rank, columns, generator=generator, dtype=weight.dtype) / 10,
        )

    known: dict[str, LazyState] = {}
    whole: dict[str, dict[str, Tensor]] = {}
    for task in ("a", "b"):
        factors = {key: thin(key) for key in base}
        tuned = {
            key: weight + (pair[0] @ pair[1]).view_as(weight) if (pair := factors[key]) else weight
            for key, weight in base.items()
        }
        shapes = {key: weight.shape for key, weight in tuned.items()}
        known[task] = LazyState(shapes, tuned.__getitem__, factors.__getitem__)
        whole[task] = tuned
    return known, whole


@pytest.mark.parametrize("split", [False, True])
def test_an_encoder_is_merged_as_by_the_method_itself(
    split: bool, doubled: tuple[nn.Module, dict[str, nn.Module]]
) -> None:
    pretrained, _ = doubled
    known, whole = adapters(pretrained)
    method = TSVM(0.7, split_qkv=split)
    expected = method.merge(pretrained, whole).state_dict()
    for experts in (known, whole):  # adapters, and the same experts that know no factors
        merged = CoreSpace(method).merge(pretrained, experts).state_dict()
        for key, weight in expected.items():
            torch.testing.assert_close(merged[key], weight, rtol=0, atol=1e-9)


def test_it_is_named_after_its_method() -> None:
    assert CoreSpace().label == "TSV-M in core space"
    assert CoreSpace(CART()).label == "CART in core space"


@pytest.mark.parametrize("method", [TaskArithmetic(), CoreSpace()])
def test_a_method_that_merges_no_matrices_is_refused(method: MergeMethod) -> None:
    with pytest.raises(MergeError, match=r"CoreSpace merges matrices, and .* does not: choose for"):
        CoreSpace(method)

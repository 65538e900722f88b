"""Every form of MLP is measured beside the plain one of the same form."""

import warnings

import pytest
import torch

from wemoe_pl.bench.forms import BY_EXPERT, DICTIONARIES, FORMS, forms, routed_to_one_expert_each
from wemoe_pl.bench.subjects import SHAPES, Settings, mixture
from wemoe_pl.moe.kernels import merged_mlp, why_mapped

SETTINGS = Settings(shapes=("miniature",), samples=(1, 3), experts=(2,), depths=(1,), repeats=1)


def test_ratios_are_to_the_plain_mlp_of_the_same_form() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of them takes a slow way
        rows = [*forms(SETTINGS)]
    assert [row["form"] for row in rows[::2]] == [*FORMS, *DICTIONARIES, BY_EXPERT] * 2
    for plain, merged in zip(rows[::2], rows[1::2], strict=True):
        assert (plain["run"], merged["run"]) == ("plain", "WEMoE")
        assert plain["form"] == merged["form"]
        assert merged["forward ×"] == merged["forward"] / plain["forward"]
        assert merged["both ×"] == merged["both"] / plain["both"]


@pytest.mark.parametrize("form", FORMS)
def test_no_form_runs_sample_by_sample(form: str) -> None:
    assert why_mapped(FORMS[form](96)) is None


def test_samples_are_shared_out_among_the_experts() -> None:
    moe = mixture(SHAPES["miniature"], 2, 0, SETTINGS)[2].double()
    x = torch.randn(4, 5, 96).double()
    routing_weights = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]]).double()
    expected = merged_mlp(moe.mlp, moe.task_vectors, routing_weights, x)
    torch.testing.assert_close(routed_to_one_expert_each(moe)(x), expected)

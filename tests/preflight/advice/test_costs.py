"""What methods take: memory by the estimate of the check, arithmetic by that of the bench."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from wemoe_pl.bench.plan import COMPRESSIONS
from wemoe_pl.bench.subjects import SHAPES
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.preflight.advice import costs
from wemoe_pl.preflight.advice.costs import Cost, costs_of, planned, shape_of
from wemoe_pl.preflight.advice.methods import KNOWN_METHODS
from wemoe_pl.preflight.memory import estimate
from wemoe_pl.training.adapt import TestTimeAdaptation


@pytest.fixture(scope="module")
def known_costs(near_suite: Suite) -> dict[str, Cost]:
    """What every method takes, by its config."""
    return {cost.config: cost for cost in costs_of(near_suite)}


@pytest.mark.parametrize("name", SHAPES)
def test_the_shape_of_a_plain_encoder_is_recognised(name: str) -> None:
    with torch.device("meta"):
        encoder = SHAPES[name].encoder(SHAPES[name].blocks)
    assert shape_of(encoder) == SHAPES[name]


def test_an_encoder_with_other_mlps_has_no_such_shape() -> None:
    encoder = VisionTransformer(
        img_size=28, patch_size=14, embed_dim=16, depth=1, num_heads=2, mlp_ratio=2.0
    )
    assert shape_of(encoder) is None


def test_every_method_has_a_cost_and_wemoe_that_of_its_job(
    known_costs: dict[str, Cost], near_suite: Suite
) -> None:
    found = known_costs
    assert list(found) == [known.config for known in KNOWN_METHODS]
    module = TestTimeAdaptation(near_suite, WEMoE(), references=False)
    memory = estimate(module, 16 * 3, 32)
    assert found["adapt_vitb32"].memory == max(memory.fit, memory.test)
    assert found["tsv_m"].memory == found["task_arithmetic"].memory
    assert found["emr"].memory is None
    assert (found["tsv_m"].arithmetic, found["mass"].arithmetic) == (1.0, 2.0)
    assert found["smile"].arithmetic is None


def test_merging_for_an_image_takes_a_multiply_add_per_expert_and_weight(
    known_costs: dict[str, Cost],
) -> None:
    width, tokens, experts = 16, 5, 3
    weights, matrices = 8 * width**2 + 5 * width, 8 * width**2
    expected = (experts * weights + tokens * matrices) / (tokens * matrices)
    assert known_costs["adapt_vitb32"].arithmetic == pytest.approx(expected)


def test_the_dictionary_is_counted_in_all_its_forms(
    near_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = planned(near_suite)
    assert {row["form"] for row in rows} == set(COMPRESSIONS)
    whole = next(row for row in rows if row["form"] == "dense, float32" and row["devices"] == "1")
    assert whole["dictionary"] == 4 * 3 * 2 * (8 * 16**2 + 5 * 16)
    monkeypatch.setattr(costs, "shape_of", lambda encoder: None)
    monkeypatch.setattr(costs, "memory_of", lambda suite, known: None)
    assert planned(near_suite) == []
    assert {c.config: c.arithmetic for c in costs_of(near_suite)}["adapt_vitb32"] is None

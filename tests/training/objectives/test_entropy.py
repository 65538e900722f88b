"""The objectives of the literature against loops, and the old options that mean one of them."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from wemoe_pl.errors import ConfigError
from wemoe_pl.training.objectives.base import Objective
from wemoe_pl.training.objectives.entropy import Entropy, InformationMaximisation, with_old_options
from wemoe_pl.training.objectives.outputs import AdaptationOutputs


def loss(objective: Objective, logits: Tensor) -> Tensor:
    return objective(AdaptationOutputs("mnist", logits))


@pytest.mark.parametrize("diversity", [0.0, 0.7])
def test_an_objective_and_its_gradient_match_those_written_out(diversity: float) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(6, 5, generator=generator, dtype=torch.float64) * 3
    logits = values.clone().requires_grad_()
    objective = loss(InformationMaximisation(diversity), logits)
    objective.backward()

    p = [[math.exp(x) / sum(map(math.exp, row)) for x in row] for row in values.tolist()]
    entropies = [-sum(x * math.log(x) for x in row) for row in p]
    marginal = [sum(column) / 6 for column in zip(*p, strict=True)]
    spread = -sum(x * math.log(x) for x in marginal)
    assert loss(Entropy(), values).item() == pytest.approx(sum(entropies) / 6, rel=1e-12)
    assert objective.item() == pytest.approx(sum(entropies) / 6 - diversity * spread, rel=1e-12)

    assert logits.grad is not None
    for b, row in enumerate(p):  # dH/dlogit = -p (log p + H); of the marginal, by the chain rule
        across = sum(x * math.log(m) for x, m in zip(row, marginal, strict=True))
        for c, x in enumerate(row):
            own = -x * (math.log(x) + entropies[b])
            shared = -x * (math.log(marginal[c]) - across)
            expected = (own - diversity * shared) / 6
            assert logits.grad[b, c].item() == pytest.approx(expected, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("diversity", [0.0, 1.0])
def test_an_objective_is_finite_for_certain_predictions(diversity: float) -> None:
    logits = (torch.eye(3) * 1e4).requires_grad_()
    objective = loss(InformationMaximisation(diversity), logits)
    objective.backward()
    assert objective.item() == pytest.approx(-diversity * math.log(3))
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("reliable", "kept"), [(0.99, [0, 2]), (0.5, [0, 2]), (0.01, [])])
def test_images_of_which_a_model_knows_nothing_are_left_out(
    reliable: float, kept: list[int]
) -> None:
    rows = [[3.0, 0.0, 0.0], [0.3, 0.2, 0.0], [0.0, 0.0, 4.0]]
    logits = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    p = [[math.exp(x) / sum(map(math.exp, row)) for x in row] for row in rows]
    entropies = [-sum(x * math.log(x) for x in row) for row in p]
    assert kept == [i for i, value in enumerate(entropies) if value <= reliable * math.log(3)]
    found = loss(InformationMaximisation(0.0, reliable), logits)
    found.backward()
    expected = sum(entropies[i] for i in kept) / max(1, len(kept))
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert logits.grad is not None
    assert [i for i in range(3) if logits.grad[i].any()] == kept


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ((None, 0.0, None), Entropy()),
        ((Entropy(), 0.0, None), Entropy()),
        ((None, 0.5, None), InformationMaximisation(0.5)),
        ((Entropy(), 0.0, 0.4), InformationMaximisation(0.0, 0.4)),
        ((InformationMaximisation(2.0), 0.0, None), InformationMaximisation(2.0)),
    ],
)
def test_old_options_mean_an_objective(given: Any, meant: Objective) -> None:
    assert with_old_options(*given) == meant


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ((0.5, None), r"^model\.diversity is 0\.5 and model\.objective is InformationMaximisation: "
         r"leave out model\.diversity"),
        ((0.0, 0.3), r"^model\.reliable is 0\.3 and .*: leave out model\.reliable"),
    ],
)  # fmt: skip
def test_old_options_beside_an_objective_are_refused(given: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        with_old_options(InformationMaximisation(), *given)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"diversity": -1.0}, r"diversity is -1\.0: give a number from 0"),
        ({"diversity": math.nan}, "diversity is nan"),
        ({"reliable": 0.0}, r"reliable is 0\.0: give a number above 0, up to 1"),
        ({"reliable": 1.5}, r"reliable is 1\.5"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        InformationMaximisation(**options)
    with pytest.raises(ConfigError, match=complaint):
        with_old_options(None, options.get("diversity", 0.0), options.get("reliable"))

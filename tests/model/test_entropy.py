"""The entropy of predictions, down to those that are certain."""

import math

import pytest
import torch

from wemoe_pl.model.entropy import entropy


def test_the_gradient_of_entropy_is_finite_where_a_prediction_is_certain() -> None:
    logits = torch.tensor([[1e4, 0.0], [0.0, 0.0]], requires_grad=True)
    values = entropy(logits.log_softmax(dim=-1))
    assert values.tolist() == pytest.approx([0.0, math.log(2)])
    values.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()

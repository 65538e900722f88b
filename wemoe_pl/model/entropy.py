"""Compute the entropy of predictions, which adaptation minimises, and which tells tasks apart."""

from torch import Tensor


def entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy in nats along the last dimension, (…, C) → (…).

    The input is logarithms, since those of a certain prediction are finite, and so is the gradient.

    >>> import torch
    >>> entropy(torch.tensor([[0.0, 0.0], [1e4, 0.0]]).log_softmax(dim=-1))
    tensor([0.6931, 0.0000])
    """
    return (log_probabilities.exp() * -log_probabilities).sum(dim=-1)


def mean_entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of the predictions of logits (B, C), a scalar in nats."""
    return entropy(logits.log_softmax(dim=-1)).mean()

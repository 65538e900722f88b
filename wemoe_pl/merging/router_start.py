"""Routers that know the tasks before adaptation: they are fitted to a few unlabelled images."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wemoe_pl.moe.mixture import Mixture, mixtures_of
from wemoe_pl.moe.router import Router

BATCH_SIZE = 64  # images that are encoded at once
RIDGES = tuple(10.0**power for power in range(-6, 3))  # as shares of the mean squared feature


class LinearFit(NamedTuple):
    """The linear map x → W x + c that fits targets best.

    Attributes:
        weight: W, (T, F).
        bias: c, (T,).
    """

    weight: Tensor
    bias: Tensor


@torch.no_grad()
def fit_routers(encoder: nn.Module, images: Mapping[str, Tensor]) -> None:
    """Fit the last layer of every router, so that the score of an image's own expert is near 1.

    The scores of all other experts are to be 0. No label of a class is used, but the task of every
    image is. Routers are fitted one after another, from the first that runs to the last, on what
    their modules are given by an encoder whose routers before them are fitted already; one that
    several blocks share is fitted to all of them at once.

    Args:
        encoder: an upscaled one, whose routers are of depth 1 or 2; it is changed in place.
        images: a few of every expert's task, (N, 3, H, W), in the order of the experts.
    """
    counts = [len(of_task) for of_task in images.values()]
    targets = torch.eye(len(images), dtype=torch.float64).repeat_interleave(torch.tensor(counts), 0)
    with evaluating(encoder):
        for router, mixtures in by_router(encoder).items():
            features = seen_by(mixtures, encoder, images)
            fit = ridge(features.double(), targets.repeat(len(mixtures), 1).to(features.device))
            router.out.weight.copy_(fit.weight)
            router.out.bias.copy_(fit.bias)


def by_router(encoder: nn.Module) -> dict[Router, list[Mixture]]:
    """List the mixtures of each router, in the order in which they run."""
    found: dict[Router, list[Mixture]] = {}
    for mixture in mixtures_of(encoder).values():
        found.setdefault(mixture.router, []).append(mixture)
    return found


@contextmanager
def evaluating(encoder: nn.Module) -> Iterator[None]:
    """Let an encoder be without dropout in a block."""
    was_training = encoder.training
    encoder.eval()
    try:
        yield
    finally:
        encoder.train(was_training)


def seen_by(
    mixtures: Sequence[Mixture], encoder: nn.Module, images: Mapping[str, Tensor]
) -> Tensor:
    """Collect what the last layer of a router is given for images, one mixture below the other.

    Args:
        mixtures: those of one router.
        encoder: which they are parts of.
        images: by task, (N, 3, H, W).

    Returns:
        (mixtures · images, F).
    """
    seen: list[list[Tensor]] = [[] for _ in mixtures]
    hooks = [
        mixture.register_forward_pre_hook(
            lambda module, given, own=own: own.append(module.router.seen(given[0]))
        )
        for mixture, own in zip(mixtures, seen, strict=True)
    ]
    place = next(encoder.parameters())
    try:
        for of_task in images.values():  # by itself, as some routers look at the whole batch
            for batch in of_task.split(BATCH_SIZE):
                encoder(batch.to(place))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat([features for own in seen for features in own])


def ridge(features: Tensor, targets: Tensor) -> LinearFit:
    """Fit a linear map by ridge regression, and choose its ridge by leaving out one row each.

    Args:
        features: (n, F).
        targets: (n, T).
    """
    centre, mean = features.mean(dim=0), targets.mean(dim=0)
    left, singular, right = torch.linalg.svd(features - centre, full_matrices=False)
    within = left.T @ (targets - mean)
    squares = singular.square()
    scale = (squares.sum() / features.shape[1]).clamp(min=torch.finfo(squares.dtype).tiny)

    def left_out(share: float) -> Tensor:
        """The mean squared error for rows that the fit has not seen."""
        kept = squares / (squares + share * scale)
        leverage = 1 / len(features) + (left.square() * kept).sum(dim=1)
        errors = (targets - mean - left @ (kept[:, None] * within)) / (1 - leverage)[:, None]
        return errors.square().mean()

    share = min(RIDGES, key=lambda share: float(left_out(share)))
    inverse = singular / (squares + share * scale)
    weight = ((right.T * inverse) @ within).T
    return LinearFit(weight, mean - weight @ centre)

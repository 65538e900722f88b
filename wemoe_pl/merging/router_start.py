"""Fit routers to a few unlabelled images, so that they tell the tasks apart before adaptation."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wemoe_pl.merging.base import blocks_of
from wemoe_pl.merging.block_inputs import AllSeen, BlockInput, inputs_of_blocks, run_block
from wemoe_pl.moe.mixture import Mixture, mixtures_of
from wemoe_pl.moe.router import Router

BATCH_SIZE = 64  # images that are encoded at once
RIDGES = tuple(10.0**power for power in range(-6, 3))  # shares of the Gram matrix's mean eigenvalue


class LinearFit(NamedTuple):
    """A linear fit is the linear map x → W x + c that fits targets best.

    Attributes:
        weight: the matrix W, (T, F).
        bias: the vector c, (T,).
    """

    weight: Tensor
    bias: Tensor


@torch.no_grad()
def fit_routers(encoder: nn.Module, images: Mapping[str, Tensor]) -> None:
    """Fit the last layer of every router, so that the score of an image's own expert is near 1.

    The scores of all other experts should be 0. The task of every image is used, but no label of a
    class. Routers are fitted one after another, in the order in which they run. Each is fitted to
    the inputs of its module in an encoder whose earlier routers are fitted already. A router that
    several blocks share is fitted to all of them at once.

    The images go through one block after the other, and each router needs only the part of its
    block before it; only routers that several blocks share need the whole encoder to run. The
    tokens of all images are kept on the encoder's device (50 × 768 numbers each for CLIP ViT-B/32),
    or the images themselves if blocks share a router.

    Args:
        encoder: an upscaled encoder, whose routers are of depth 1 or 2; it is changed in place.
        images: some images of every expert's task, (N, 3, H, W), in the order of the experts.
    """
    counts = [len(of_task) for of_task in images.values()]
    targets = torch.eye(len(images), dtype=torch.float64).repeat_interleave(torch.tensor(counts), 0)
    place = next(encoder.parameters())
    # Every batch is of one task, as some routers look at a batch as a whole.
    batches = (batch.to(place) for own in images.values() for batch in own.split(BATCH_SIZE))
    with evaluating(encoder):
        if are_shared_by_blocks(encoder):
            fit_those_in(encoder, [(batch, {}) for batch in batches], targets)
            return
        inputs = inputs_of_blocks(encoder, batches)
        for block in blocks_of(encoder):
            fit_those_in(block, inputs, targets)
            run_block(block, inputs)


def are_shared_by_blocks(encoder: nn.Module) -> bool:
    """Return whether several blocks share a router."""
    return len(by_router(encoder)) < sum(len(by_router(block)) for block in blocks_of(encoder))


def fit_those_in(part: nn.Module, inputs: Sequence[BlockInput], targets: Tensor) -> None:
    """Fit the routers in an encoder or in a block of it, in the order in which they run.

    Args:
        part: the encoder, or the block.
        inputs: the input of the part for every batch.
        targets: the wanted scores of all images, (N, T).
    """
    for router, mixtures in by_router(part).items():
        features = seen_by(mixtures, part, inputs)
        fit = ridge(features.double(), targets.repeat(len(mixtures), 1).to(features.device))
        router.out.weight.copy_(fit.weight)
        router.out.bias.copy_(fit.bias)


def by_router(part: nn.Module) -> dict[Router, list[Mixture]]:
    """Return the mixtures of each router, in the order in which they run."""
    found: dict[Router, list[Mixture]] = {}
    for mixture in mixtures_of(part).values():
        found.setdefault(mixture.router, []).append(mixture)
    return found


@contextmanager
def evaluating(encoder: nn.Module) -> Iterator[None]:
    """Put an encoder in evaluation mode, without dropout, while the block runs."""
    was_training = encoder.training
    encoder.eval()
    try:
        yield
    finally:
        encoder.train(was_training)


def seen_by(mixtures: Sequence[Mixture], part: nn.Module, inputs: Sequence[BlockInput]) -> Tensor:
    """Collect the inputs of a router's last layer for all images, one mixture below the other.

    Args:
        mixtures: the mixtures of one router.
        part: the encoder or the block that contains them.
        inputs: the input of the part for every batch.

    Returns:
        The inputs of the layer, (mixtures · images, F).
    """
    router, last = mixtures[0].router, mixtures[-1]
    seen: dict[nn.Module, list[Tensor]] = {mixture: [] for mixture in mixtures}

    def keep(mixture: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen[mixture].append(router.seen(given[0]))
        if mixture is last:  # what runs after it is not needed
            raise AllSeen

    hooks = [mixture.register_forward_pre_hook(keep) for mixture in mixtures]
    try:
        for given, options in inputs:
            with suppress(AllSeen):
                part(given, **options)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat([features for own in seen.values() for features in own])


def ridge(features: Tensor, targets: Tensor) -> LinearFit:
    """Fit a linear map by ridge regression, with the ridge of the least leave-one-out error.

    Args:
        features: the inputs of the map, (n, F).
        targets: the outputs to fit, (n, T).
    """
    centre, mean = features.mean(dim=0), targets.mean(dim=0)
    left, singular, right = torch.linalg.svd(features - centre, full_matrices=False)
    within = left.T @ (targets - mean)
    squares = singular.square()
    scale = (squares.sum() / features.shape[1]).clamp(min=torch.finfo(squares.dtype).tiny)

    def left_out(share: float) -> Tensor:
        """Return the mean squared error of rows, each left out of its own fit."""
        kept = squares / (squares + share * scale)
        leverage = 1 / len(features) + (left.square() * kept).sum(dim=1)
        errors = (targets - mean - left @ (kept[:, None] * within)) / (1 - leverage)[:, None]
        return errors.square().mean()

    share = min(RIDGES, key=lambda share: float(left_out(share)))
    inverse = singular / (squares + share * scale)
    weight = ((right.T * inverse) @ within).T
    return LinearFit(weight, mean - weight @ centre)

"""Compute the least time of a merged MLP on a machine, from its arithmetic and its reading."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch

from wemoe_pl.bench.subjects import SHAPES, BenchRow, Settings, Shape, mixture, there_and_back
from wemoe_pl.moe.kernels.choice import choose_kernel
from wemoe_pl.moe.kernels.timing import interleaved
from wemoe_pl.moe.kernels.two_layers import two_layers

SIDE = 2048  # the rows of the square matrices whose product is timed
READ = 2**26  # the count of numbers that are summed: more than any cache holds


@dataclass(frozen=True)
class Machine:
    """A `Machine` has the measured peak speed of a machine: arithmetic and reading per second.

    Attributes:
        multiply_adds: the multiply-adds per second of one large matrix product.
        bytes: the bytes per second that are read from memory.
    """

    multiply_adds: float
    bytes: float

    @classmethod
    def measured(cls, settings: Settings) -> "Machine":
        """Measure the speed that torch reaches, in the precision of the settings."""
        left, right = (settings.batch(SIDE, SIDE).detach() for _ in range(2))
        numbers = torch.ones(READ, device=settings.device, dtype=settings.dtype)
        runs = {"product": lambda: left @ right, "sum": lambda: numbers.sum()}
        seconds = interleaved(runs, settings.repeats, settings.device)
        return cls(SIDE**3 / seconds["product"], numbers.nbytes / seconds["sum"])


@dataclass(frozen=True)
class Count:
    """A `Count` has the multiply-adds and the reading of a batch, without the router.

    Attributes:
        multiply_adds: the multiply-adds that merge weights and use them.
        numbers: the number of weights that are read, task vectors included.
    """

    multiply_adds: int
    numbers: int

    @classmethod
    def of(cls, shape: Shape, samples: int, experts: int, learning: bool) -> "Count":
        """Count B·T·P to merge, B·N·2DH to multiply, (T + 1)·P to read.

        A backward pass merges anew, has a product for the tokens and one for the weights, and
        contracts the latter with the dictionary. Both passes together take three times the
        arithmetic of the forward pass, and twice its reading.

        >>> Count.of(SHAPES["vitb32"], samples=16, experts=8, learning=False)
        Count(multiply_adds=4379344896, numbers=42501888)
        """
        matrices = 8 * shape.width**2
        once = samples * (experts * shape.weights + shape.tokens * matrices)
        numbers = (experts + 1) * shape.weights
        return cls(3 * once, 2 * numbers) if learning else cls(once, numbers)


def limits(settings: Settings) -> Iterator[BenchRow]:
    """Yield both limits of a mixture, router excluded, and its time relative to the larger one."""
    machine = Machine.measured(settings)
    for name, experts, samples in product(settings.shapes, settings.experts, settings.samples):
        shape = SHAPES[name]
        _, _, moe = mixture(shape, experts, 0, settings)
        layers = two_layers(moe.mlp, moe.task_vectors)
        assert layers is not None
        x = settings.batch(samples, shape.tokens, shape.width)
        upstream = torch.randn_like(x)
        shares = settings.batch(samples, experts)

        def merged(x: torch.Tensor) -> torch.Tensor:
            return choose_kernel(layers, shares, x)(layers, shares, x)  # noqa: B023 (used at once)

        runs: dict[str, Callable[[], object]] = {
            "forward": torch.no_grad()(partial(merged, x)),
            "forward + backward": there_and_back(merged, x, upstream),
        }
        for what, seconds in interleaved(runs, settings.repeats, settings.device).items():
            count = Count.of(shape, samples, experts, learning=what != "forward")
            arithmetic = count.multiply_adds / machine.multiply_adds
            reading = count.numbers * settings.dtype.itemsize / machine.bytes
            about = {"shape": name, "samples": samples, "experts": experts, "what": what}
            counts = {"multiply-adds": count.multiply_adds, "numbers": count.numbers}
            times = {"arithmetic": arithmetic, "reading": reading, "seconds": seconds}
            yield about | counts | times | {"ratio": seconds / max(arithmetic, reading)}

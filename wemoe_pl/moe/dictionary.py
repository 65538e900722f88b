"""Dictionaries: the T task vectors of a parameter, dense or really stored compressed.

Whatever the form, `mix` gives Σ_i r_bi τ_i for every sample, in the precision of the routing
weights, and `tile` some rows or columns of all task vectors. Nothing is unpacked for longer than
that takes, neither in the forward pass nor for the backward one: a dictionary that is small in a
file is small in memory.

Task vectors lie in memory as their weight does. One whose weight is column-major, as a column of
`fc2` is read where a row of `fc1` is, gives its columns without moving anything.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.precision import Precision

Reader = Callable[[int], Tensor]
Tiles = Callable[[int], Tensor]  # the number of a tile → some lines of all task vectors
# Entries of a block of a sparse task vector: the place of each in it fits in two bytes, and the
# lines of a tile are whole blocks if their length is a multiple of 256.
BLOCK = 2**13
# What an entry, stored or not, costs to unpack, in multiply-adds of a matrix product.
SCATTERING = 20.0


class TaskVectors(nn.Module, ABC):
    """The task vectors of one parameter, frozen."""

    @abstractmethod
    def mix(self, routing_weights: Tensor) -> Tensor:
        """Routing weights (B, T) → Σ_i r_bi τ_i, (B, *shape)."""

    @abstractmethod
    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """Some rows (dim 0) or columns (dim 1) of task vectors that are matrices.

        Returns:
            (T, stop − start, m): m is the length of a row, or of a column.
        """

    def tiles(self, length: int, lines: int, dim: int, dtype: torch.dtype) -> Tiles:
        """Some rows or columns by number, those of tile i from i · `lines` on.

        Args:
            length: how many there are.
            lines: how many belong to a tile, but for the last.
            dim: as for `tile`.
            dtype: as for `tile`.
        """
        return lambda i: self.tile(i * lines, min((i + 1) * lines, length), dim, dtype)

    def apply_to(self, x: Tensor, routing_weights: Tensor) -> Tensor:
        """Tokens (B, N, n) and (B, T) → Σ_i r_bi τ_i x, (B, N, m), of task vectors (m, n)."""
        return x @ self.mix(routing_weights).mT

    @property
    @abstractmethod
    def count(self) -> int:
        """T."""

    @property
    def numbers(self) -> int:
        """How many are stored."""
        return sum(tensor.numel() for tensor in self.parameters() if tensor.is_floating_point())

    @property
    def applying(self) -> float:
        """Multiply-adds to apply all of them to one token."""
        return math.inf

    @property
    def unpacking(self) -> float:
        """What tiles of all of them cost beyond reading, in multiply-adds of a matrix product."""
        return 0.0

    @property
    def nbytes(self) -> int:
        """Bytes that they take, in memory and in a file."""
        return sum(tensor.nbytes for tensor in self.state_dict().values())


@dataclass(frozen=True)
class Compression(ABC):
    """How task vectors are stored.

    Args:
        precision: of the stored numbers; by default that of the weights. Mixing is always done in
            the precision of the weights.
    """

    precision: Precision | None = None

    @abstractmethod
    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> TaskVectors:
        """The task vectors of one parameter.

        Args:
            weight: the pretrained one.
            fine_tuned: reads the same of expert i; one at a time is held in memory.
            count: T, how many experts there are.
        """

    def dtype(self, weight: Tensor) -> torch.dtype:
        """What the stored numbers are."""
        return getattr(torch, self.precision) if self.precision else weight.dtype


@dataclass(frozen=True)
class Dense(Compression):
    """All entries, as in WEMoE (arXiv 2402.00433)."""

    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> "DenseVectors":
        """Stack them."""
        # In the weight's own order of dimensions in memory, once for every expert.
        stacked = torch.empty_strided(
            (count, *weight.shape),
            (weight.numel(), *weight.stride()),
            dtype=self.dtype(weight),
            device=weight.device,
        )
        for i, row in enumerate(stacked):
            # Into its place: a difference in between would take memory for one more of each.
            torch.sub(fine_tuned(i).to(weight.device), weight, out=row)
        return DenseVectors(stacked)


class DenseVectors(TaskVectors):
    """Stacked task vectors (T, *shape), whose entries are held in their order in memory.

    >>> DenseVectors(torch.eye(2)).mix(torch.tensor([[0.5, 2.0]]))
    tensor([[0.5000, 2.0000]])
    """

    def __init__(self, stacked: Tensor):
        super().__init__()
        self.column_major = is_column_major(stacked[0])
        in_memory = stacked.mT if self.column_major else stacked
        self.entries = frozen(in_memory.flatten())
        self.shape = in_memory.shape

    @property
    def stacked(self) -> Tensor:
        """(T, *shape)."""
        stacked = self.entries.view(self.shape)
        return stacked.mT if self.column_major else stacked

    def mix(self, routing_weights: Tensor) -> Tensor:
        """One matrix product for the whole batch."""
        return torch.tensordot(routing_weights, self.stacked.to(routing_weights.dtype), dims=1)

    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """A view, unless the precision differs."""
        lines = self.stacked if dim == 0 else self.stacked.mT
        return lines[:, start:stop].to(dtype)

    def tiles(self, length: int, lines: int, dim: int, dtype: torch.dtype) -> Tiles:
        """All views at once, which is quicker than one by one, unless the precision differs."""
        if dtype != self.entries.dtype:
            return super().tiles(length, lines, dim, dtype)
        return self.tile(0, length, dim, dtype).split(lines, dim=1).__getitem__

    def apply_to(self, x: Tensor, routing_weights: Tensor) -> Tensor:
        """One after another: none is copied."""
        shares = routing_weights[:, None, None, :].unbind(dim=-1)
        applied = (x @ vector.to(x.dtype).T for vector in self.stacked)
        return torch.stack([r * y for r, y in zip(shares, applied, strict=True)]).sum(dim=0)

    @property
    def count(self) -> int:
        """T."""
        return self.shape[0]

    @property
    def applying(self) -> float:
        """Each is a matrix."""
        return self.entries.numel()


@dataclass(frozen=True)
class Pruned(Compression):
    """Only the entries of largest magnitude of every task vector (E-WEMoE, arXiv 2410.21804).

    Args:
        ratio: the share of entries that is left out, of each parameter of each expert, 0 to 1.
            What is kept is not rescaled.
    """

    ratio: float = 0.9

    def __post_init__(self) -> None:
        """Refuse a ratio out of range."""
        if not 0.0 <= self.ratio <= 1.0:
            raise MergeError(
                f"The pruning ratio is {self.ratio}: choose a number from 0 (keep all) to 1."
            )

    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> "PrunedVectors":
        """Keep ⌈(1 − ratio) n⌉ of the n entries of each."""
        kept = math.ceil(round((1.0 - self.ratio) * weight.numel(), 6))
        values = weight.new_empty(count, kept, dtype=self.dtype(weight))
        places = torch.empty(count, kept, dtype=torch.int64, device=weight.device)
        for i in range(count):
            vector = in_memory_order(fine_tuned(i).to(weight.device) - weight, weight)
            largest = vector.abs().topk(kept, sorted=False).indices.sort().values
            values[i], places[i] = vector[largest], largest
        return PrunedVectors.of(values, places, weight)


class PrunedVectors(TaskVectors):
    """Task vectors of which K entries each are stored, block by block of their places in memory.

    Args:
        values: (T · K,), the entries that were kept, those of one block of all experts together.
        places: (T · K,), where each lies in its block; two bytes.
        counts: (blocks, T), how many there are of each expert.
        shape: of the parameter.
        column_major: do the places count down the columns of a matrix?
    """

    counts: Tensor

    def __init__(
        self,
        values: Tensor,
        places: Tensor,
        counts: Tensor,
        shape: torch.Size,
        column_major: bool = False,
    ):
        super().__init__()
        self.values = frozen(values)
        self.places = frozen(places)
        self.register_buffer("counts", counts)
        self.shape = shape
        self.column_major = column_major

    @classmethod
    def of(cls, values: Tensor, places: Tensor, weight: Tensor) -> "PrunedVectors":
        """From the entries (T, K) of each expert and their ascending places, of a weight."""
        experts = torch.arange(len(values), device=values.device)[:, None]
        owners = (places // BLOCK * len(values) + experts).flatten()
        blocks = math.ceil(weight.numel() / BLOCK)
        counts = torch.zeros(blocks * len(values), dtype=torch.int32, device=values.device)
        counts.scatter_add_(0, owners, torch.ones_like(owners, dtype=torch.int32))
        order = owners.argsort(stable=True)
        return cls(
            values.flatten()[order],
            (places % BLOCK).flatten()[order].to(torch.int16),
            counts.unflatten(0, (blocks, len(values))),
            weight.shape,
            is_column_major(weight),
        )

    def mix(self, routing_weights: Tensor) -> Tensor:
        """Add the entries of each expert where they belong."""
        mixed: Tensor = MixSparse.apply(routing_weights, self)
        if self.column_major:
            return mixed.unflatten(1, self.shape[::-1]).mT
        return mixed.unflatten(1, self.shape)

    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """Unpack the blocks in which they lie."""
        lies_apart = dim != int(self.column_major)
        length = self.shape[1 - dim]
        if lies_apart:
            whole = self.unpacked(dtype).unflatten(1, (length, self.shape[dim]))
            return whole[:, :, start:stop].mT
        first, last = start * length // BLOCK, math.ceil(stop * length / BLOCK)
        skipped = start * length - first * BLOCK
        lines = self.unpacked(dtype, first, last)[:, skipped:]
        return lines[:, : (stop - start) * length].unflatten(1, (stop - start, length))

    def unpacked(self, dtype: torch.dtype, first: int = 0, last: int | None = None) -> Tensor:
        """The task vectors in their order in memory, (T, n), from one block to another."""
        counts = self.counts[first:last]
        blocks, experts = counts.shape
        begin = int(self.counts[:first].sum()) if first else 0
        end = begin + int(counts.sum()) if last else len(self.values)
        # Blocks come first where entries are stored, experts where they are unpacked to.
        origins = torch.arange(experts, device=counts.device) * blocks
        origins = (torch.arange(blocks, device=counts.device)[:, None] + origins) * BLOCK
        owners = origins.flatten().repeat_interleave(counts.flatten(), output_size=end - begin)
        dense = self.values.new_zeros(experts * blocks * BLOCK, dtype=dtype)
        dense.scatter_(0, owners + self.places[begin:end], self.values[begin:end].to(dtype))
        dense = dense.unflatten(0, (experts, blocks * BLOCK))
        return dense[:, : self.shape.numel() - first * BLOCK]

    @property
    def count(self) -> int:
        """T."""
        return self.counts.shape[1]

    @property
    def unpacking(self) -> float:
        """Every entry, zero or not, is written to a place of its own."""
        return SCATTERING * self.count * self.shape.numel()


class MixSparse(torch.autograd.Function):
    """Σ_i r_bi τ_i of sparse task vectors; they are unpacked anew in the backward pass."""

    @staticmethod
    def forward(ctx: Any, routing_weights: Tensor, vectors: PrunedVectors) -> Tensor:
        """(B, T) → (B, n)."""
        ctx.vectors = vectors
        return routing_weights @ vectors.unpacked(routing_weights.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """(B, n) → the gradient of the routing weights, (B, T)."""
        (gradient,) = gradients
        return gradient @ ctx.vectors.unpacked(gradient.dtype).T, None


def is_column_major(weight: Tensor) -> bool:
    """Do the columns of a matrix lie in memory one after another, and not its rows?"""
    return weight.ndim == 2 and weight.mT.is_contiguous() and not weight.is_contiguous()


def in_memory_order(vector: Tensor, weight: Tensor) -> Tensor:
    """Flatten a task vector in the order in which the entries of its weight lie in memory."""
    return (vector.mT if is_column_major(weight) else vector).flatten()


@dataclass(frozen=True)
class LowRank(Compression):
    """The largest singular values of every task vector that is a matrix; others are kept whole.

    Args:
        rank: how many are kept.
        energy: instead of `rank`, the share of the sum of their squares that is kept, 0 to 1.
    """

    rank: int | None = None
    energy: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range, and both or neither."""
        if (self.rank is None) == (self.energy is None):
            raise MergeError("A low-rank dictionary takes either `rank` or `energy`: give one.")
        if self.rank is not None and self.rank < 1:
            raise MergeError(f"The rank is {self.rank}: give a number from 1.")
        if self.energy is not None and not 0.0 < self.energy <= 1.0:
            raise MergeError(f"The energy is {self.energy}: choose a number above 0, up to 1.")

    def store(self, weight: Tensor, fine_tuned: Reader, count: int) -> TaskVectors:
        """Decompose each."""
        if weight.ndim < 2:
            return Dense(self.precision).store(weight, fine_tuned, count)
        factors = [
            self.factorise((fine_tuned(i).to(weight.device) - weight).flatten(1))
            for i in range(count)
        ]
        owners = [i for i, (left, _) in enumerate(factors) for _ in range(left.shape[1])]
        left = torch.cat([left for left, _ in factors], dim=1).to(self.dtype(weight))
        right = torch.cat([right for _, right in factors]).to(self.dtype(weight))
        columns = torch.tensor(owners, dtype=torch.int32, device=weight.device)
        return LowRankVectors(left, right, columns, weight.shape, count)

    def factorise(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """A matrix (m, n) → (m, R) and (R, n), whose product is near it."""
        left, singular, right = torch.linalg.svd(matrix, full_matrices=False)
        rank = len(singular) if self.rank is None else min(self.rank, len(singular))
        if self.energy is not None:
            kept = singular.square().cumsum(0)
            enough = self.energy * kept[-1] * (1 - torch.finfo(kept.dtype).eps * len(kept))
            rank = int((kept < enough).sum()) + 1
        root = singular[:rank].sqrt()
        return left[:, :rank] * root, root[:, None] * right[:rank]


class LowRankVectors(TaskVectors):
    """Task vectors as products of thin matrices, those of all experts side by side.

    Args:
        left: (m, R), R being the sum of the ranks.
        right: (R, n).
        owners: (R,), the expert of each column.
        shape: of the parameter, m × n once it is flattened to a matrix.
        count: T.
    """

    owners: Tensor

    def __init__(self, left: Tensor, right: Tensor, owners: Tensor, shape: torch.Size, count: int):
        super().__init__()
        self.left, self.right = frozen(left), frozen(right)
        self.register_buffer("owners", owners)
        self.shape = shape
        self.experts = count

    def mix(self, routing_weights: Tensor) -> Tensor:
        """Weigh the columns of each expert by its share, then multiply."""
        dtype = routing_weights.dtype
        shares = routing_weights[:, self.owners]
        mixed = (self.left.to(dtype) * shares[:, None, :]) @ self.right.to(dtype)
        return mixed.unflatten(2, self.shape[1:])

    def tile(self, start: int, stop: int, dim: int, dtype: torch.dtype) -> Tensor:
        """Multiply the lines of each expert's factors."""
        lines, rest = (self.left, self.right) if dim == 0 else (self.right.T, self.left.T)
        ranks = self.owners.bincount(minlength=self.experts).tolist()
        pairs = zip(lines[start:stop].split(ranks, dim=1), rest.split(ranks), strict=True)
        return torch.stack([left.to(dtype) @ right.to(dtype) for left, right in pairs])

    def apply_to(self, x: Tensor, routing_weights: Tensor) -> Tensor:
        """Σ_i r_bi τ_i x, (B, N, n) → (B, N, m), without forming a task vector."""
        dtype = routing_weights.dtype
        shares = routing_weights[:, None, self.owners]
        return (x @ self.right.to(dtype).T * shares) @ self.left.to(dtype).T

    @property
    def count(self) -> int:
        """T."""
        return self.experts

    @property
    def applying(self) -> float:
        """Two thin products."""
        return self.left.numel() + self.right.numel()

    @property
    def unpacking(self) -> float:
        """The product of the factors."""
        return len(self.owners) * self.shape.numel()


def restored(stored: Mapping[str, Tensor], weight: Tensor, count: int) -> TaskVectors:
    """The task vectors that a state dict holds, whichever form it holds them in.

    Args:
        stored: the state dict of a `DenseVectors`, `PrunedVectors` or `LowRankVectors`.
        weight: the parameter that they are of, whose order in memory is theirs.
        count: T.

    Raises:
        MergeError: it is of none of these.
    """
    match sorted(stored):
        case ["entries"] if stored["entries"].numel() == count * weight.numel():
            column_major = is_column_major(weight)
            in_memory = weight.mT if column_major else weight
            stacked = stored["entries"].view(count, *in_memory.shape)
            return DenseVectors(stacked.mT if column_major else stacked)
        case ["counts", "places", "values"]:
            parts = stored["values"], stored["places"], stored["counts"]
            return PrunedVectors(*parts, weight.shape, is_column_major(weight))
        case ["left", "owners", "right"]:
            factors = stored["left"], stored["right"], stored["owners"]
            return LowRankVectors(*factors, weight.shape, count)
    raise MergeError(
        f"{', '.join(stored) or 'Nothing'} is no dictionary of {count} task vectors of shape "
        f"{tuple(weight.shape)}."
    )


class Dictionary(nn.Module):
    """The task vectors of every parameter of a module, by the parameters' own dotted names.

    Args:
        vectors: per parameter, its task vectors.
    """

    def __init__(self, vectors: Mapping[str, TaskVectors]):
        super().__init__()
        for name, each in vectors.items():
            place: nn.Module = self
            *path, leaf = name.split(".")
            for part in path:
                if part not in dict(place.named_children()):
                    place.add_module(part, nn.Module())
                place = place.get_submodule(part)
            place.add_module(leaf, each)

    def items(self) -> Iterable[tuple[str, TaskVectors]]:
        """Every parameter's name with its task vectors."""
        return ((n, m) for n, m in self.named_modules() if isinstance(m, TaskVectors))

    def mix(self, routing_weights: Tensor) -> dict[str, Tensor]:
        """Routing weights (B, T) → per parameter, Σ_i r_bi τ_i, (B, *shape)."""
        return {name: vectors.mix(routing_weights) for name, vectors in self.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return sum(vectors.nbytes for _, vectors in self.items())


def frozen(tensor: Tensor) -> nn.Parameter:
    """A parameter that is stored, moved and counted with a module, and not trained."""
    return nn.Parameter(tensor, requires_grad=False)

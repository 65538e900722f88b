"""Build the subjects of a benchmark: models of published shapes with random weights, mixtures."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from wemoe_pl.bench.rivals import Layer
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import DENSE
from wemoe_pl.moe.kernels.timing import interleaved
from wemoe_pl.moe.layers import WeightEnsemblingMoE

BenchRow = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """A `Shape` has the sizes of a vision transformer, whose MLPs have 4 · `width` hidden units."""

    width: int
    tokens: int
    blocks: int
    heads: int
    image: int
    patch: int

    @property
    def weights(self) -> int:
        """Return P, the number of weights of an MLP."""
        return 8 * self.width**2 + 5 * self.width

    def encoder(self, blocks: int) -> nn.Module:
        """Return a vision transformer of random weights."""
        return VisionTransformer(
            img_size=self.image,
            patch_size=self.patch,
            embed_dim=self.width,
            depth=blocks,
            num_heads=self.heads,
            num_classes=0,
        )


SHAPES = {
    "vitb32": Shape(768, 50, 12, 12, 224, 32),
    "vitb16": Shape(768, 197, 12, 12, 224, 16),
    "vitl14": Shape(1024, 257, 24, 16, 224, 14),
    "miniature": Shape(96, 50, 4, 4, 28, 4),
}


@dataclass(frozen=True)
class Settings:
    """A `Settings` says which shapes and batches a benchmark takes, and how often it repeats.

    Attributes:
        shapes: the names of the shapes, from `SHAPES`.
        samples: the numbers of samples B.
        experts: the numbers of experts T.
        depths: the depths of routers.
        blocks: the largest number of blocks of an encoder; None for all.
        repeats: the number of times that each timing is taken.
        device: the device, "cpu" or "cuda".
        dtype: the data type of weights and inputs.
        run: the folder of the run whose model `serve` measures; None for the other measures.
        images: the largest number of test images of each task that `serve` scores.
    """

    shapes: tuple[str, ...] = ("vitb32",)
    samples: tuple[int, ...] = (16,)
    experts: tuple[int, ...] = (8,)
    depths: tuple[int, ...] = (2,)
    blocks: int | None = None
    repeats: int = 5
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    run: str | None = None
    images: int = 200

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device and the precision of the settings."""
        return module.to(self.device, self.dtype)

    def batch(self, *shape: int) -> Tensor:
        """Return random inputs that require gradients."""
        return torch.randn(shape, device=self.device, dtype=self.dtype).requires_grad_()


def mixture(
    shape: Shape,
    experts: int,
    depth: int,
    settings: Settings,
    build: Callable[[], nn.Module] | None = None,
    compression: Compression = DENSE,
) -> tuple[nn.Module, list[nn.Module], WeightEnsemblingMoE]:
    """Return a plain MLP, fine-tuned copies of it, and their mixture, all of random weights.

    Args:
        shape: the sizes of the model.
        experts: T, the number of experts.
        depth: the depth of the router.
        settings: the settings, which have the device and the precision.
        build: a function that makes an MLP; by default the one of most vision transformers.
        compression: the form in which the dictionary is stored.
    """
    plain = build() if build else Mlp(shape.width, 4 * shape.width)
    # Placed before anything is made of it, so that a dictionary keeps a precision of its own.
    settings.place(plain).requires_grad_(False)
    tuned = [near(plain) for _ in range(experts)]
    moe = WeightEnsemblingMoE(plain, tuned, router_depth=depth, compression=compression)
    return plain, tuned, moe


@torch.no_grad()
def near(module: nn.Module) -> nn.Module:
    """Return a copy of an MLP with a little noise on its weights, in the place of fine-tuning."""
    tuned = deepcopy(module).requires_grad_(True)
    for weight in tuned.parameters():
        weight.add_(0.01 * torch.randn_like(weight))
    return tuned


def upscaled(
    shape: Shape, blocks: int, experts: int, settings: Settings
) -> tuple[nn.Module, nn.Module]:
    """Return a frozen plain encoder and an upscaled one."""
    pretrained = shape.encoder(blocks).requires_grad_(False)
    merged = WEMoE().upscaled(pretrained, [pretrained.state_dict()] * experts)
    return settings.place(pretrained), settings.place(merged)


def forward_only(layer: Layer, x: Tensor) -> Callable[[], Tensor]:
    """Return a function that runs a forward pass without gradients."""
    return torch.no_grad()(lambda: layer(x))


def there_and_back(layer: Layer, x: Tensor, upstream: Tensor) -> Callable[[], None]:
    """Return a function that runs a forward and a backward pass."""
    return lambda: layer(x).backward(upstream)


def timed(
    layers: dict[str, Layer], x: Tensor, settings: Settings, about: BenchRow
) -> Iterator[BenchRow]:
    """Yield a row for each layer: seconds, and ratios to the layer named `plain`."""
    upstream = torch.randn_like(x)
    forward = {name: forward_only(f, x) for name, f in layers.items()}
    both = {name: there_and_back(f, x, upstream) for name, f in layers.items()}
    one_way = interleaved(forward, settings.repeats, settings.device)
    both_ways = interleaved(both, settings.repeats, settings.device)
    for name in layers:
        seconds = {"forward": one_way[name], "both": both_ways[name]}
        ratios = {"forward ×": one_way[name] / one_way["plain"]}
        ratios["both ×"] = both_ways[name] / both_ways["plain"]
        yield about | {"run": name} | seconds | ratios

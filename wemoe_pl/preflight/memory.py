"""The memory that a job would take, counted on models without memory: nothing is allocated."""

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wemoe_pl.checkpoints import Backbone, LazyState
from wemoe_pl.dictionaries import Dictionary
from wemoe_pl.evaluate import ScoredModule
from wemoe_pl.finetune import with_frozen_projection
from wemoe_pl.merged import MergedModule
from wemoe_pl.merging import AdaptiveEncoder, MergeMethod
from wemoe_pl.pixels import Preprocessing
from wemoe_pl.suites import Suite

ADAM = 2  # numbers for each that is trained: the means of its gradient and of that squared


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of what the operations within it make, as long as it is there.

    Args:
        outside: tensors of which views are nothing new.

    Attributes:
        now: how many there are.
        most: how many there have been at once.
    """

    def __init__(self, outside: Iterable[Tensor]):
        super().__init__()
        self.now = self.most = 0
        self._known = {id(tensor.untyped_storage()) for tensor in outside}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, and count its results."""
        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                self.count(result.untyped_storage())
        return results

    def count(self, storage: torch.UntypedStorage) -> None:
        """Count what a tensor is kept in, once, until it is let go of."""
        if id(storage) in self._known:
            return
        self._known.add(id(storage))
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.forget, id(storage), storage.nbytes())

    def forget(self, key: int, size: int) -> None:
        """It has gone."""
        self._known.discard(key)
        self.now -= size


@dataclass(frozen=True)
class Memory:
    """Bytes on a device.

    Args:
        model: the encoder whose parts are trained or scored, with all task vectors.
        task_vectors: what of that they take.
        optimizer: Adam's two means for each number that is trained.
        step: the gradients, and the activations of one batch, forward and backward.
        references: the encoders that the test compares with.
        scoring: the activations of one batch of a test.
    """

    model: int
    task_vectors: int
    optimizer: int
    step: int
    references: int
    scoring: int

    @property
    def fit(self) -> int:
        """While it is trained."""
        return self.model + self.optimizer + self.step

    @property
    def test(self) -> int:
        """While it is scored, behind a fit."""
        return self.model + self.optimizer + self.references + self.scoring


def estimate(
    module: ScoredModule, images: int, test_images: int, dtype: torch.dtype = torch.float32
) -> Memory:
    """What a job takes on each device.

    Activations are counted on the plain encoder: a merged MLP works in a bounded space beside it.

    Args:
        module: the job's model, which is not built.
        images: in a batch of a step, of all tasks together.
        test_images: in a batch of a test.
        dtype: of weights and activations.

    Raises:
        MergeError: the backbone cannot be merged by the method.
    """
    backbone = module.suite.backbone
    model, compared = model_of(module), references_of(module)
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    step = activations(backbone, images, trains=gradients_of_weights(model))
    step += nbytes(model.encoder) if isinstance(model, AdaptiveEncoder) else trained
    counted = Memory(
        model=nbytes(model),
        task_vectors=sum(m.nbytes for m in model.modules() if isinstance(m, Dictionary)),
        optimizer=ADAM * trained,
        step=step,
        references=sum(map(nbytes, compared)),
        scoring=activations(backbone, test_images),
    )
    scale = dtype.itemsize / torch.float32.itemsize
    return Memory(**{name: round(scale * size) for name, size in asdict(counted).items()})


def model_of(module: ScoredModule) -> nn.Module:
    """The encoder that a job trains or scores, without memory."""
    if isinstance(module, MergedModule):
        return merged(module.suite, module.merge)
    return with_frozen_projection(module.suite.backbone.skeleton())


def references_of(module: ScoredModule) -> list[nn.Module]:
    """The encoders that the test compares with, without memory."""
    suite = module.suite
    if not isinstance(module, MergedModule):
        return [suite.backbone.skeleton()]
    own = module.own_reference
    methods = [m for name, m in module.columns.items() if name != own] if module.compare else []
    return [merged(suite, method) for method in methods]


def merged(suite: Suite, method: MergeMethod) -> nn.Module:
    """A suite's merged encoder, without memory."""
    shapes = suite.backbone.shapes

    def nothing(key: str) -> Tensor:
        return torch.empty(shapes[key], device="meta")

    experts = {task: LazyState(shapes, nothing) for task in suite.experts}
    with torch.device("meta"):
        return method.merge(suite.backbone.skeleton(), experts)


def nbytes(model: nn.Module) -> int:
    """Bytes of the weights of a model; those that are shared once."""
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def gradients_of_weights(model: nn.Module) -> bool:
    """Do the encoder's own weights get gradients in a step, not only what merges them?"""
    return isinstance(model, AdaptiveEncoder) or any(
        p.requires_grad and name.startswith("blocks.") and ".router." not in name
        for name, p in model.named_parameters()
    )


def activations(backbone: Backbone, images: int, trains: bool | None = None) -> int:
    """The most bytes at once of what a pass of the plain encoder makes.

    Args:
        backbone: of the encoder.
        images: in the batch.
        trains: None for a forward pass alone; otherwise a backward one too, which gives gradients
            to the weights (true) or only leads through them.
    """
    encoder = backbone.skeleton()
    shapes = {n: t.shape for n, t in (*encoder.named_parameters(), *encoder.named_buffers())}
    size = Preprocessing(backbone).config["input_size"]
    with FakeTensorMode():
        weights = {n: torch.empty(s, requires_grad=bool(trains)) for n, s in shapes.items()}
        batch = torch.empty(images, *size, requires_grad=trains is not None)
        outside = [batch, *weights.values()]
        with LiveBytes(outside) as live, torch.set_grad_enabled(trains is not None):
            features = functional_call(encoder, weights, (batch,))
            if trains is not None:
                features.sum().backward()
    return live.most + batch.nbytes

"""Estimate the memory that a job would take, on meta and fake tensors: nothing is allocated."""

import re
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wemoe_pl.checkpoints import Backbone, Factors, LazyState, State, shapes_of
from wemoe_pl.checkpoints.encoder import adapter_in
from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.adamerging import AdaptiveEncoder
from wemoe_pl.merging.base import MergeMethod, blocks_of
from wemoe_pl.merging.core_space import CoreSpace
from wemoe_pl.merging.mass import MASSEncoder
from wemoe_pl.merging.per_task import PerTaskMethod
from wemoe_pl.merging.tensor_method import TensorMethod
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.merging.wrapper import Wrapper
from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.low_rank_vectors import LowRankVectors
from wemoe_pl.moe.mixture import mixtures_of
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.experts import OF_EXPERTS
from wemoe_pl.training.finetune import ExpertFineTuning, with_frozen_projection
from wemoe_pl.training.merged_module import MergedModule
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.sample_merging import SampleMerging

ADAM = 2  # Adam keeps two numbers per trained parameter: the means of its gradient and its square


class LiveBytes(TorchDispatchMode):
    """A `LiveBytes` counts the bytes of the tensors that operations within it make, until freed.

    Args:
        outside: tensors made before the block; their storages are not counted.

    Attributes:
        now: the number of bytes that are alive.
        most: the largest number of bytes that were alive at once.
    """

    def __init__(self, outside: Iterable[Tensor]):
        super().__init__()  # type: ignore[no-untyped-call]
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
        """Count the storage of a tensor once, until it is freed."""
        if id(storage) in self._known:
            return
        self._known.add(id(storage))
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.forget, id(storage), storage.nbytes())

    def forget(self, key: int, size: int) -> None:
        """Subtract a storage that has been freed."""
        self._known.discard(key)
        self.now -= size


@dataclass(frozen=True)
class Memory:
    """A `Memory` says how many bytes each part of a job takes on a device.

    Args:
        model: the encoder whose parts are trained or scored, with all task vectors.
        task_vectors: the share of `model` that the task vectors take.
        optimizer: Adam's two means for each parameter that is trained.
        step: the gradients, the activations of one batch, forward and backward, and the expert that
            an objective compares with. For a method that merges from samples: the expert that the
            samples are shown to, and the sums over them.
        references: the encoders that the test compares with.
        scoring: the activations of one batch of a test, and the models that are merged for it.
    """

    model: int
    task_vectors: int
    optimizer: int
    step: int
    references: int
    scoring: int

    @property
    def fit(self) -> int:
        """Return the bytes that are taken while the model is trained."""
        return self.model + self.optimizer + self.step

    @property
    def test(self) -> int:
        """Return the bytes that are taken while the model is scored after a fit."""
        return self.model + self.optimizer + self.references + self.scoring


def estimate(
    module: MultiTaskModule,
    images: int,
    test_images: int,
    dtype: torch.dtype = torch.float32,
    steps: int = 1,
) -> Memory:
    """Estimate the memory that a job takes on each device.

    Activations are counted on the plain encoder. An MLP that is merged tile by tile keeps its
    hidden layer once more for the backward pass, which is added; its bounded work space is not
    counted. The factors of low-rank task vectors only add to the activations of the plain encoder.

    Args:
        module: the job's model, which is not built.
        images: the number of images in a batch of a step, of all tasks together.
        test_images: the number of images in a batch of a test.
        dtype: the type of weights and activations.
        steps: the number of steps of the fit; some methods keep the images of all steps.

    Raises:
        MergeError: the backbone cannot be merged by the method.
    """
    backbone = module.suite.backbone
    model, compared = encoder_of(module), references_of(module)
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    # An adaptive encoder merges all its weights again in every forward pass.
    anew = nbytes(model.encoder) if isinstance(model, AdaptiveEncoder) else 0
    if isinstance(module, SampleMerging):
        trained, step = 0, of_samples(module, images, steps)
    elif anew or not isinstance(module, MergedModule):
        step = anew + activations(backbone, images, "weights")
    else:
        step = trained + activations(backbone, images, "inputs")
        step += hidden_layers(backbone, images) if is_tiled(model) else 0
    if isinstance(module, TestTimeAdaptation) and module.needs & OF_EXPERTS:
        step += nbytes(backbone.skeleton())
    counted = Memory(
        model=nbytes(model),
        task_vectors=sum(m.nbytes for m in model.modules() if isinstance(m, Dictionary)),
        optimizer=ADAM * trained,
        step=step,
        references=sum(map(nbytes, compared)),
        scoring=anew + cached(model) + activations(backbone, test_images),
    )
    scale = dtype.itemsize / torch.float32.itemsize
    return Memory(**{name: round(scale * size) for name, size in asdict(counted).items()})


def of_samples(module: SampleMerging, images: int, steps: int) -> int:
    """Return the bytes that merging from samples takes.

    They are an expert, its activations, the sums over samples, and the merged weights.
    """
    backbone = module.suite.backbone
    per_task = max(1, images // len(module.suite.experts))
    size = Preprocessing(backbone).config["input_size"]
    with torch.device("meta"):
        encoder = backbone.skeleton()
        experts = {task: encoder.state_dict() for task in module.suite.experts}
        seen = torch.empty(steps * images, *size)
        with torch.no_grad():
            sums = module.merge.start(encoder, experts).nbytes(seen)
    model, passes = nbytes(encoder), activations(backbone, per_task)
    if module.merge.needs_labels:  # Fisher merging takes the gradients of each sample by itself
        passes = max(passes, model + activations(backbone, 1, "weights"))
    return 2 * model + passes + sums


def cached(model: nn.Module) -> int:
    """Return the bytes of the merged models that MASS keeps for later images."""
    return model.cached * nbytes(model.encoder) if isinstance(model, MASSEncoder) else 0


def is_tiled(model: nn.Module) -> bool:
    """Return whether a model has mixtures with matrices whose task vectors are not of low rank."""
    matrices = [
        vectors
        for mixture in mixtures_of(model).values()
        for name, vectors in mixture.task_vectors.items()
        if mixture.pretrained.get_parameter(name).ndim == 2
    ]
    return any(not isinstance(vectors, LowRankVectors) for vectors in matrices)


def encoder_of(module: MultiTaskModule) -> nn.Module:
    """Build the encoder that a job trains or scores, on the meta device."""
    if isinstance(module, MergedModule):
        return merged(module.suite, module.merge)
    encoder = with_frozen_projection(module.suite.backbone.skeleton())
    if isinstance(module, ExpertFineTuning) and module.adapter:
        module.adapter.add_to(encoder)
    return encoder


def references_of(module: MultiTaskModule) -> list[nn.Module]:
    """Build the encoders that the test compares with, on the meta device."""
    suite = module.suite
    if not isinstance(module, MergedModule):
        return [suite.backbone.skeleton()]
    own = module.own_reference
    methods = [m for name, m in module.columns.items() if name != own] if module.compare else []
    return [merged(suite, method) for method in methods]


def merged(suite: Suite, method: MergeMethod) -> nn.Module:
    """Merge a suite's encoders by a method, on the meta device."""
    backbone = suite.backbone
    if isinstance(method, TensorMethod | CoreSpace | Wrapper | PerTaskMethod):
        return backbone.skeleton().requires_grad_(False)  # their result is as large as the encoder
    experts = {task: meta_expert(source, backbone) for task, source in suite.experts.items()}
    if isinstance(method, WEMoE):
        method = replace(method, rest=None, centre=None)  # their merges replace weights, add none
    with torch.device("meta"):
        return method.merge(backbone.skeleton(), experts)


def meta_expert(source: str, backbone: Backbone) -> State:
    """Return an expert without values, which knows the factors of an adapter that is here."""
    state = backbone.skeleton().state_dict()
    adapter = adapter_in(source, backbone)
    if adapter is None:
        return state

    def factors(key: str) -> Factors | None:
        found = adapter.factors(key)
        return (found[0].to("meta"), found[1].to("meta")) if found else None

    return LazyState(shapes_of(state), state.__getitem__, factors)


def nbytes(model: nn.Module) -> int:
    """Return the bytes of the parameters and buffers of a model; shared ones count once."""
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def hidden_layers(backbone: Backbone, images: int) -> int:
    """Return the bytes of the hidden layers of all MLPs of the plain encoder, for some images."""
    encoder, sizes = backbone.skeleton(), list[int]()
    for block in blocks_of(encoder):
        first = next(m for m in block.get_submodule("mlp").modules() if isinstance(m, nn.Linear))
        first.register_forward_hook(lambda *passed: sizes.append(passed[-1].nbytes))
    size = Preprocessing(backbone).config["input_size"]
    with torch.no_grad():
        encoder(torch.empty(images, *size, device="meta"))
    return sum(sizes)


def activations(
    backbone: Backbone, images: int, to: Literal["weights", "inputs"] | None = None
) -> int:
    """Return the largest number of bytes that are alive at once in a pass of the plain encoder.

    Args:
        backbone: the backbone of the encoder.
        images: the number of images in the batch.
        to: the tensors that a backward pass computes gradients for: all weights, or the input
            images and what lies between; by default there is no backward pass.
    """
    encoder = backbone.skeleton()
    tensors = (*encoder.named_parameters(), *encoder.named_buffers())
    kinds = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors}
    size = Preprocessing(backbone).config["input_size"]
    with FakeTensorMode():
        weights = {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in kinds.items()}
        for weight in weights.values():
            weight.requires_grad_(to == "weights" and weight.is_floating_point())
        batch = torch.empty(images, *size, requires_grad=to is not None)
        with LiveBytes([batch, *weights.values()]) as live, torch.set_grad_enabled(to is not None):
            features = functional_call(encoder, weights, (batch,))
            if to is not None:
                features.sum().backward()
    return live.most + batch.nbytes


def free_bytes(accelerator: str) -> int | None:
    """Return the bytes that are free now where a job would run; None if they are not known."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    about = Path("/proc/meminfo")
    found = re.search(r"MemAvailable: +(\d+) kB", about.read_text()) if about.is_file() else None
    return 1024 * int(found[1]) if found else None

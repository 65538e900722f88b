"""Split dictionaries of task vectors over several devices, or keep them in the memory of the CPU.

This is for dictionaries that do not fit one device. A block's task vectors are whole, and on the
device, only while the block runs: they are fetched for its forward pass, freed, and fetched again
for its backward pass. All other tensors, such as the routers', are on every device, as under DDP.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.modules.module import register_module_module_registration_hook

from wemoe_pl.data.streams import NoTask
from wemoe_pl.errors import ConfigError
from wemoe_pl.moe.mixture import Mixture
from wemoe_pl.training.module import MultiTaskModule


class ShardedDictionary(DDPStrategy):
    """The strategy is DDP with each block's task vectors sharded over a node's devices by FSDP2.

    Trained parameters, optimiser and checkpoints are the same as under DDP, and so the same as in
    one process. A model without a dictionary runs as under DDP.

    Args:
        offload: True to keep each device's share in the memory of the CPU. A single device, whose
            share is the whole dictionary, saves memory only by this.
    """

    def __init__(self, offload: bool = False):
        super().__init__()
        self.offload = offload

    def setup_environment(self) -> None:
        """Refuse to predict on several devices, since some of them may have no image at all."""
        processes = self.num_nodes * self.num_processes
        if self.job.trainer.state.fn == TrainerFn.PREDICTING and processes > 1:
            raise ConfigError(
                "Predictions with a sharded dictionary are made on one device: use "
                "`--config trainer/stream.yaml`, or trainer/ddp.yaml where the dictionary fits."
            )
        super().setup_environment()

    @contextmanager
    def model_sharded_context(self) -> Iterator[None]:
        """Shard each block's dictionary as soon as it is built, so that no process holds it all."""
        shape = (self.num_nodes, self.num_processes)
        mesh = init_device_mesh(self.root_device.type, shape, mesh_dim_names=("node", "device"))

        def share_out(parent: nn.Module, name: str, child: nn.Module | None) -> None:
            if isinstance(child, Mixture):
                shard(child, set(child.task_vectors.parameters()), mesh["device"], self.offload)

        hook = register_module_module_registration_hook(share_out)
        try:
            yield
        finally:
            hook.remove()
        encoder, mixtures = self.job.classifier.encoder, self.job.classifier.mixtures
        if mixtures and not isinstance(encoder, FSDPModule):
            # The encoder becomes the root of all mixtures, which lets blocks overlap.
            below = shard(encoder, set(), mesh["device"], self.offload)
            for mixture in mixtures:
                assert isinstance(mixture, FSDPModule)
                # By default, FSDP would take the passes of validations for part of the order.
                mixture.set_modules_to_backward_prefetch([below])
                below = mixture

    @property
    def job(self) -> MultiTaskModule:
        """Return the module that is trained or scored."""
        assert isinstance(self.lightning_module, MultiTaskModule)
        return self.lightning_module

    def model_to_device(self) -> None:
        """Move the tensors that are not sharded; FSDP has put the others where they belong."""
        assert self.model is not None
        for tensor in chain(self.model.parameters(), self.model.buffers()):
            if not isinstance(tensor, DTensor):
                tensor.data = tensor.data.to(self.root_device)

    def teardown(self) -> None:
        """Tear down what a stage set up, but leave the model where it is: it cannot be moved."""
        assert self.cluster_environment is not None
        assert self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()

    def on_validation_start(self) -> None:
        """Keep pace with the process that validates the most batches."""
        self.keep_pace(self.job.trainer.val_dataloaders, self.job.trainer.num_val_batches)

    def on_test_start(self) -> None:
        """Keep pace with the process that tests the most batches."""
        self.keep_pace(self.job.trainer.test_dataloaders, self.job.trainer.num_test_batches)

    def keep_pace(self, loaders: Any, batches: Sequence[int | float]) -> None:
        """Take part in as many passes as the process with the most batches, without images.

        A block runs only when all processes have come to fetch its task vectors, but not all of
        them score the same number of batches.

        Args:
            loaders: the loaders of the tasks to score, as Lightning holds them.
            batches: the number of batches of each loader.
        """
        pairs = zip(loaders, batches, strict=True)
        own = int(sum(count for loader, count in pairs if not isinstance(loader.dataset, NoTask)))
        most = self.reduce(torch.tensor(own, device=self.root_device), reduce_op="max")
        for _ in range(int(most) - own):
            for mixture in self.job.classifier.mixtures:
                assert isinstance(mixture, FSDPModule)
                mixture.unshard()
                mixture.reshard()


def shard(
    module: nn.Module, tensors: set[nn.Parameter], mesh: DeviceMesh, offload: bool
) -> FSDPModule:
    """Shard some parameters of a module, which from then on fetches them whenever it runs.

    Args:
        module: the module, which is changed in place.
        tensors: the parameters to shard; all others stay as they are.
        mesh: the devices, in one dimension.
        offload: True to keep the shares in the memory of the CPU.

    Returns:
        The same module.
    """
    pinned = CPUOffloadPolicy(pin_memory=torch.cuda.is_available())
    return fully_shard(
        module,
        mesh=mesh,
        reshard_after_forward=True,
        offload_policy=pinned if offload else OffloadPolicy(),
        ignored_params=set(module.parameters()) - tensors,
    )

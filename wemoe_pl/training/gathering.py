"""Gather the batches and counts of several processes."""

from collections.abc import Iterable

from lightning import Trainer
from torch import Tensor
from torchmetrics import Metric


def gather_batch(trainer: Trainer, shares: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gather a batch from all processes, in the order in which a single process would have it.

    A loss of the batch is the same in every process. Its gradients flow back to the shares, and
    averaged over processes, as Lightning does, they are those of a single process.

    Args:
        trainer: the trainer, which knows the processes.
        shares: the share of this process, by task, (B ÷ processes, …).

    Returns:
        The whole batch, by task, (B, …).
    """
    if trainer.world_size == 1:
        return shares
    gather_all = trainer.strategy.all_gather
    gathered = {task: gather_all(share, sync_grads=True) for task, share in shares.items()}
    return {task: values.flatten(0, 1) for task, values in gathered.items()}


def gather_metrics(metrics: Iterable[Metric]) -> None:
    """Give the metrics of every process the counts of all processes.

    The metrics need `sync_on_compute=False`, so that a process may compute without the others.
    """
    for metric in metrics:
        with metric.sync_context():
            totals = metric.metric_state
        for name, total in totals.items():
            setattr(metric, name, total)

"""Batches and counts of several processes are gathered here."""

from collections.abc import Iterable

from lightning import Trainer
from torch import Tensor
from torchmetrics import Metric


def gather_batch(trainer: Trainer, shares: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give what all processes have of a batch, in the order in which one alone would have it.

    A loss of it is the same in every process, and its gradients find their way back: averaged
    over processes, as Lightning does, they are those of one process.

    Args:
        trainer: it knows the processes.
        shares: what this process has, by task, (B ÷ processes, …).

    Returns:
        The same of all, (B, …).
    """
    if trainer.world_size == 1:
        return shares
    gather_all = trainer.strategy.all_gather
    gathered = {task: gather_all(share, sync_grads=True) for task, share in shares.items()}
    return {task: values.flatten(0, 1) for task, values in gathered.items()}


def gather_metrics(metrics: Iterable[Metric]) -> None:
    """Let every process have what all have counted; one alone has it already.

    Of metrics with `sync_on_compute=False`: then a process may compute without the others.
    """
    for metric in metrics:
        with metric.sync_context():
            totals = metric.metric_state
        for name, total in totals.items():
            setattr(metric, name, total)

"""The objective of SyMerge: the answers of each task's own expert are the labels."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from wemoe_pl.training.objectives.base import Objective
from wemoe_pl.training.objectives.outputs import AdaptationOutputs


@dataclass(frozen=True)
class ExpertLabels(Objective):
    """The cross-entropy with the class that the task's own expert predicts, in nats.

    Images are left out on which the two predict different classes and the merged model is the more
    confident one (SyMerge, arXiv 2412.19098): the expert is no judge of them.

    Args:
        trusted_only: leave these images out, as published; without it, every image counts.
    """

    trusted_only: bool = True
    needs = ("expert_logits",)

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the mean over the images that are kept, and 0 if none is."""
        labels = outputs.expert_logits.argmax(dim=-1)
        if not self.trusted_only:
            return F.cross_entropy(outputs.logits, labels)
        kept = trusted(outputs.logits.detach(), outputs.expert_logits).to(outputs.logits)
        losses = F.cross_entropy(outputs.logits, labels, reduction="none")
        return (kept * losses).sum() / kept.sum().clamp(min=1)


def trusted(logits: Tensor, expert_logits: Tensor) -> Tensor:
    """Find the images on which an expert is to be learned from, as truth values (B,).

    It is on those on which the merged model predicts the same class, or another one with at most
    the expert's confidence, which is the probability of the predicted class.

    Args:
        logits: (B, C), of the merged model.
        expert_logits: (B, C), of the expert.

    >>> import torch
    >>> ours = torch.tensor([[1.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    >>> theirs = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    >>> trusted(ours, theirs)
    tensor([ True,  True, False])
    """
    ours, predicted = logits.softmax(dim=-1).max(dim=-1)
    theirs, labels = expert_logits.softmax(dim=-1).max(dim=-1)
    return (predicted == labels) | (theirs >= ours)

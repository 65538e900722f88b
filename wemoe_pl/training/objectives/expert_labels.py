"""Define the objective of SyMerge, whose labels are the answers of each task's own expert."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from wemoe_pl.training.objectives.base import Objective
from wemoe_pl.training.objectives.outputs import AdaptationOutputs


@dataclass(frozen=True)
class ExpertLabels(Objective):
    """The objective is the cross-entropy with the class that the task's expert predicts, in nats.

    An image is left out if the two models predict different classes and the merged model is more
    confident (SyMerge, arXiv 2412.19098), since the expert is not reliable there.

    Args:
        trusted_only: True to leave these images out, as published; otherwise every image counts.
    """

    trusted_only: bool = True
    needs = ("expert_logits",)

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        """Return the mean over the images that are kept; 0 if none is."""
        labels = outputs.expert_logits.argmax(dim=-1)
        if not self.trusted_only:
            return F.cross_entropy(outputs.logits, labels)
        kept = trusted(outputs.logits.detach(), outputs.expert_logits).to(outputs.logits)
        losses = F.cross_entropy(outputs.logits, labels, reduction="none")
        return (kept * losses).sum() / kept.sum().clamp(min=1)


def trusted(logits: Tensor, expert_logits: Tensor) -> Tensor:
    """Return for which images the expert's class is to be learned, as truth values (B,).

    They are those for which the merged model predicts the same class, or another one with at most
    the expert's confidence. Confidence is the probability of the predicted class.

    Args:
        logits: the logits of the merged model, (B, C).
        expert_logits: the logits of the expert, (B, C).

    >>> import torch
    >>> ours = torch.tensor([[1.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    >>> theirs = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    >>> trusted(ours, theirs)
    tensor([ True,  True, False])
    """
    ours, predicted = logits.softmax(dim=-1).max(dim=-1)
    theirs, labels = expert_logits.softmax(dim=-1).max(dim=-1)
    return (predicted == labels) | (theirs >= ours)

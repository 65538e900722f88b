"""Read one parameter of all experts, as a whole or as the factors of its task vector."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.checkpoints import Factors, State, factors_of
from wemoe_pl.moe.compression import Reader

ROUNDINGS = 4  # roundings in θ_expert − θ_pretrained, and in the product that should be equal to it


@dataclass(frozen=True)
class ExpertParameter:
    """An `ExpertParameter` reads one parameter of the experts, one expert at a time.

    Args:
        states: the weights of each expert.
        name: the name of the parameter.
    """

    states: Sequence[State]
    name: str

    def __call__(self, expert: int) -> Tensor:
        """Return the parameter of an expert, given its number."""
        return self.states[expert][self.name]

    def factors(self, expert: int, weight: Tensor) -> Factors | None:
        """Return the factors of an expert's task vector, θ_expert − `weight`, if they are known.

        Factors that belong to other pretrained weights than these are not returned.

        Args:
            expert: the number of the expert.
            weight: the pretrained parameter.
        """
        found = factors_of(self.states[expert], self.name)
        if found is None:
            return None
        left, right = (factor.to(weight) for factor in found)
        if weight.is_meta:  # memory is estimated without values
            return left, right
        tuned = self(expert).to(weight)
        difference = (tuned - weight).flatten(1) - left @ right
        rounding = torch.finfo(weight.dtype).eps * tuned.abs().max()
        return (left, right) if difference.abs().max() <= ROUNDINGS * rounding else None


def known_factors(fine_tuned: Reader, weight: Tensor, count: int) -> list[Factors] | None:
    """Return the factors of all T task vectors of a parameter; None unless all are known.

    Args:
        fine_tuned: the reader of the parameter, of any kind; only `ExpertParameter` knows factors.
        weight: the pretrained parameter.
        count: T, the number of experts.
    """
    if not isinstance(fine_tuned, ExpertParameter):
        return None
    found = []
    for i in range(count):
        factors = fine_tuned.factors(i, weight)
        if factors is None:
            return None
        found.append(factors)
    return found

"""Define methods that change the task vector of another static method after it has merged."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from wemoe_pl.checkpoints import State
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod, fitting_states, frozen_copy
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.mass import MASS
from wemoe_pl.merging.per_task import PerTaskMethod
from wemoe_pl.merging.smile import SMILE
from wemoe_pl.moe.task_vectors import Model, add_task_vectors, lazy_task_vector

# Static methods that do not end in one set of weights for all tasks and tokens.
NOT_ONE_MODEL = (Individual, MASS, PerTaskMethod, SMILE)


@dataclass(frozen=True)
class Wrapper(MergeMethod):
    """A wrapper changes the task vector that another static method gives.

    It reads the experts once more than the method itself does.

    Args:
        method: any method that merges to one set of weights, without samples.
    """

    is_static = True

    method: MergeMethod

    def __post_init__(self) -> None:
        """Refuse methods that give more than one set of weights, or none that are final."""
        check_gives_weights(self.method, type(self).__name__, "method")

    @property
    def label(self) -> str:
        """Return the names of the method and of the wrapper."""
        return f"{self.method.label} + {type(self).__name__}"

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return a frozen encoder with the changed task vector."""
        base = pretrained.state_dict()
        merged = lazy_task_vector(base, self.method.merge(pretrained, experts).state_dict())
        states = fitting_states(base, experts).values()
        vectors = [lazy_task_vector(base, state) for state in states]
        changed = self.change(merged, vectors, pretrained)
        return frozen_copy(pretrained, add_task_vectors(base, [changed], 1.0))

    @abstractmethod
    def change(self, merged: State, vectors: Sequence[State], pretrained: nn.Module) -> State:
        """Return another task vector in place of the merged one.

        Args:
            merged: the task vector that the method gives.
            vectors: the task vectors of the experts, which are read when asked for.
            pretrained: the encoder that the experts were fine-tuned from.
        """


def check_gives_weights(method: MergeMethod, owner: str, key: str) -> None:
    """Raise `MergeError` unless a method gives one final set of weights for all tasks.

    Args:
        method: the method that should give the weights.
        owner: the class that works on the weights.
        key: the option of the class that names the method.
    """
    if not method.is_static or isinstance(method, NOT_ONE_MODEL):
        raise MergeError(
            f"{owner} works on the final weights of a static method, but {method.label} gives no "
            f"final weights: choose for `{key}` one such as TaskArithmetic, TIES or TSVM."
        )

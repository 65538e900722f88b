"""Methods that change the task vector of another static method after it has merged."""

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
    """A static method, and what is done to the task vector that it gives.

    The experts are read once more than the method itself reads them.

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
        """Return the names of both."""
        return f"{self.method.label} + {type(self).__name__}"

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """A frozen encoder."""
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
            vectors: those of the experts, which are read when asked for.
            pretrained: the encoder that all are fine-tuned from.
        """


def check_gives_weights(method: MergeMethod, owner: str, key: str) -> None:
    """Raise `MergeError` for a method that gives no set of weights that is final and of all tasks.

    Args:
        method: what is to give the weights.
        owner: the class that works on them.
        key: its option that names the method.
    """
    if not method.is_static or isinstance(method, NOT_ONE_MODEL):
        raise MergeError(
            f"{owner} works on the weights that a static method gives, and {method.label} gives "
            f"none that are final: choose for `{key}` one such as TaskArithmetic, TIES or TSVM."
        )

"""Models in double precision, and their weights as numpy arrays for references of other kinds."""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from torch import nn

Experts = dict[str, nn.Module]
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def doubled(pretrained: nn.Module, experts: Experts) -> tuple[nn.Module, Experts]:
    """A pretrained encoder and three experts in double precision; none may be changed."""
    copies = {task: deepcopy(expert).double() for task, expert in experts.items()}
    return deepcopy(pretrained).double(), copies


@pytest.fixture(scope="session")
def arrays_of() -> Callable[[nn.Module], Arrays]:
    """`arrays_of(model)`: its weights, by name, as numpy arrays in double precision."""

    def convert(model: nn.Module) -> Arrays:
        return {key: weight.double().numpy() for key, weight in model.state_dict().items()}

    return convert


@pytest.fixture(scope="session")
def task_vectors(
    doubled: tuple[nn.Module, Experts], arrays_of: Callable[[nn.Module], Arrays]
) -> dict[str, list[np.ndarray]]:
    """The task vectors of `doubled`, a list per name; that of positions is the matrix it is."""
    base, tuned = arrays_of(doubled[0]), [arrays_of(expert) for expert in doubled[1].values()]
    vectors = {key: [other[key] - base[key] for other in tuned] for key in base}
    return vectors | {"pos_embed": [vector[0] for vector in vectors["pos_embed"]]}

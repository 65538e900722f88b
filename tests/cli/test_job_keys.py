"""What the parts of a job share: a seed, and a suite of the tasks that were chosen."""

import pytest
from jsonargparse import Namespace

from wemoe_pl.cli.job_keys import checked_seed, restricted
from wemoe_pl.errors import ConfigError


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_a_seed_is_a_number(seed: int) -> None:
    assert checked_seed(seed) == seed


@pytest.mark.parametrize("seed", [-1, 2**32, True, False])
def test_what_no_run_can_be_repeated_from_is_no_seed(seed: int) -> None:
    with pytest.raises(ConfigError, match=rf"seed_everything is {seed}: give a number from 0 to"):
        checked_seed(seed)


def test_a_suite_is_restricted_to_the_tasks_that_were_chosen() -> None:
    suite = Namespace(name="s", tasks={"a": 1, "b": 2}, experts={"a": "x", "b": "y"}, heads={})
    left = restricted(suite, ["b"], [])
    assert (left.tasks, left.experts) == ({"b": 2}, {"b": "y"})
    assert restricted(Namespace(), ["b"], []) == Namespace()

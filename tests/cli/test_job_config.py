"""The resolved config of a job: what is checked in it, and what it says when the run has ended."""

from pathlib import Path

import pytest
from jsonargparse import Namespace

from wemoe_pl.cli.job_config import as_it_ends, checked_seed, checkpoints_in, loggers_of, restricted
from wemoe_pl.errors import ConfigError
from wemoe_pl.runs.folder import RunFolder


def logger(**options: str) -> Namespace:
    return Namespace(class_path="Logger", init_args=Namespace(**options))


def config(out: str) -> Namespace:
    several = [logger(save_dir=out), logger()]
    return Namespace(out=out, trainer=Namespace(logger=several))


def test_what_is_built_to_replace_a_run_says_where_it_will_lie() -> None:
    built = config("runs/a/.next")
    ended = as_it_ends(built, RunFolder(Path("runs/a/.next")))
    assert ended.out == "runs/a"
    assert ended.trainer.logger[0].init_args.save_dir == "runs/a"
    assert "save_dir" not in ended.trainer.logger[1].init_args
    assert built.out == "runs/a/.next"


def test_any_other_run_says_where_it_lies() -> None:
    one = config("runs/a")
    assert as_it_ends(one, RunFolder(Path("runs/a"))) is one


def test_a_trainer_has_no_logger_one_or_several() -> None:
    one = logger()
    for given, found in [(one, [one]), ([one, one], [one, one]), (False, []), (None, [])]:
        assert loggers_of(Namespace(logger=given)) == found


def test_checkpoints_lie_below_the_run() -> None:
    assert checkpoints_in("runs/a") == str(Path("runs/a/checkpoints"))


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

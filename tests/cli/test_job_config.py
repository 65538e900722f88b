"""The resolved config of a job: what the command makes of it, and what it says in the end."""

from pathlib import Path

import pytest
from jsonargparse import Namespace

from wemoe_pl.cli.job_config import (
    PROGRESS_BAR,
    as_it_ends,
    checkpoints_in,
    hide_bar,
    loggers_of,
    write_to,
)
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


@pytest.mark.parametrize(
    ("quiet", "enabled", "left"), [(True, True, 1), (False, False, 1), (False, True, 2)]
)
def test_a_bar_is_left_out_where_it_is_not_wanted(quiet: bool, enabled: bool, left: int) -> None:
    bar, other = Namespace(class_path=PROGRESS_BAR), Namespace(class_path="wemoe_pl.Other")
    trainer = Namespace(enable_progress_bar=enabled, callbacks=[bar, other])
    hide_bar(Namespace(quiet=quiet, trainer=trainer))
    assert trainer.callbacks == [bar, other][-left:]
    assert trainer.enable_progress_bar == (enabled and not quiet)


def test_all_parts_write_into_the_folder_of_the_run() -> None:
    one = config("runs/a")
    one.predictions, one.checkpoint = Namespace(), Namespace()
    write_to(one, Path("runs/b"))
    assert one.out == one.predictions.folder == one.trainer.default_root_dir == "runs/b"
    assert one.checkpoint.dirpath == str(Path("runs/b/checkpoints"))

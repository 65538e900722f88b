"""What the parts of a job share: a seed, and a suite of the tasks that were chosen."""

import pytest
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from wemoe_pl.cli.job_keys import (
    HANDED_ON,
    add_job_keys,
    checked_seed,
    refuse_handed_on,
    restricted,
)
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


def test_all_keys_that_get_their_value_from_another_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """jsonargparse itself refuses those of no class, such as `checkpoint.dirpath`."""
    links: dict[str, object] = {}
    monkeypatch.setattr(
        LightningArgumentParser,
        "link_arguments",
        lambda _, source, target, **__: links.update({target: source}),
    )
    monkeypatch.setattr(LightningArgumentParser, "set_defaults", lambda *_: None)
    add_job_keys(LightningArgumentParser(), is_of_verb=False)
    of_classes = {key.replace(".init_args", "") for key in links if ".init_args" in key}
    assert of_classes == HANDED_ON.keys()


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("data.suite", "suite"),
        ("model.init_args.suite.experts.mnist", "suite.experts.mnist"),
        ("data.seed", "seed_everything"),
        ("trainer.logger.init_args.save_dir", "out"),
    ],
)
def test_a_key_that_gets_its_value_from_another_is_refused(key: str, instead: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key} has the value .* give {instead} instead\.$"):
        refuse_handed_on({"out": "runs/1", key: "5"})


def test_keys_that_only_begin_alike_are_not_refused() -> None:
    alike = ("data.seeds", "model.suites.a", "suite.experts.mnist", "data.init_args")
    refuse_handed_on(dict.fromkeys(alike, "5"))


def test_nothing_is_refused_that_loses_no_value() -> None:
    refuse_handed_on({"model.init_args.task": "None", "seed_everything": "5", "data.seed": "5"})
    with pytest.raises(ConfigError, match="give seed_everything instead"):
        refuse_handed_on({"seed_everything": "6", "data.seed": "5"})

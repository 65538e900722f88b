"""Keys that are guessed are answered with those that are meant."""

from collections import Counter

import pytest
from jsonargparse import Namespace

from wemoe_pl.cli.job import build_job
from wemoe_pl.cli.near_keys import KNOWN_ELSEWHERE, nearest_key, nearest_name
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.configs import shipped_configs

JOB = ["--config", "adapt_miniature"]

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")


@pytest.mark.parametrize(
    ("guess", "meant"),
    [
        ("lr", "--model.learning_rate"),
        ("learning_rate", "--model.learning_rate"),
        ("learning-rate", "--model.learning_rate"),
        ("batch_size", "--data.batch_size"),
        ("steps", "--trainer.max_steps"),
        ("max_steps", "--trainer.max_steps"),
        ("epochs", "--trainer.max_steps"),
        ("gpus", "--trainer.devices"),
        ("device", "--trainer.accelerator"),
        ("num_workers", "--data.num_workers"),
        ("output", "--out"),
        ("out_dir", "--out"),
        ("seed", "--seed_everything"),
        ("experts", "--suite.experts"),
        ("wandb", "--config wandb.yaml"),
        ("router_depth", "--model.merge.router_depth"),
        ("trainer.gpus", "--trainer.devices"),
        ("Epochs", "--trainer.max_steps"),
        ("init_std", "--model.merge.init_std"),
        ("images", "--data.images"),
        ("max_time", "--trainer.max_time"),
    ],
)
def test_a_guess_at_a_key_is_answered_with_the_one_that_is_meant(guess: str, meant: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_job([*JOB, f"--{guess}", "3"])
    assert str(refused.value) == f"There is no key '{guess}'. Did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("guess", "sentence"),
    [
        ("model.lr", "There is no key 'lr'. Did you mean 'learning_rate'?"),
        ("model.merge.depth", "There is no key 'depth'. Did you mean 'router_depth'?"),
        ("data.bs", "There is no key 'bs'. Did you mean 'batch_size'?"),
        (
            "trainer.max_step",
            "There is no key 'trainer.max_step'. Did you mean 'trainer.max_steps'",
        ),
    ],
)
def test_within_a_class_it_is_one_of_that_class(guess: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_job([*JOB, f"--{guess}", "3"])
    assert str(refused.value).startswith(sentence)


def test_a_name_of_other_things_is_not_taken_for_a_setting() -> None:
    keys = ["dataset", "image_column"]
    assert nearest_key("source", keys) == "Valid names: dataset, image_column."
    assert nearest_key("suite.tasks.a.bs", ["trainer.max_steps", *keys]).startswith("Valid names")


def test_every_key_that_is_given_as_an_answer_is_there() -> None:
    settings = build_job(JOB).settings
    for given in KNOWN_ELSEWHERE:
        option, _, config = given.partition(" ")
        if config:
            assert (option, config in shipped_configs()) == ("--config", True)
            continue
        part: object = settings
        for name in option.removeprefix("--").split("."):
            assert isinstance(part, Namespace)
            part = part.init_args if "init_args" in part else part
            assert name in part or name in ("ckpt_path", "fresh")
            part = part.get(name)


def test_no_guess_has_two_answers_and_none_is_a_key() -> None:
    guesses = Counter(name for names in KNOWN_ELSEWHERE.values() for name in names)
    assert guesses.most_common(1)[0][1] == 1
    assert not {given.removeprefix("--") for given in KNOWN_ELSEWHERE} & set(guesses)


def test_few_names_are_all_listed_and_of_many_only_the_nearest() -> None:
    assert nearest_name("b", ["ab", "cd"]) == "Did you mean 'ab'? Valid names: ab, cd."
    many = [f"name {i}" for i in range(100)]
    assert nearest_name("name 77", many) == "Did you mean 'name 77'?"
    assert nearest_name("zzz", many, otherwise="Look.") == "Look."

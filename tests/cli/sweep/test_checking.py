"""Every config of a sweep is read before anything runs, and a fault is told in the grid's words."""

from pathlib import Path

import pytest
from helpers.sweeps import FakeRunner, run_sweep

from wemoe_pl.cli.sweep.checking import blame
from wemoe_pl.errors import ConfigError

JOB = ("--config", "adapt_miniature")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--grid", "model.merge.init_args.lamda=0.1,0.3"),
            "--grid: there is no key 'model.merge.init_args.lamda'. Did you mean "
            "'model.merge.init_args.init_lambda'? No point was run.",
        ),
        (
            ("--grid", "seed_everything=0", "--grid", "model.merge.router_depth=1,7"),
            "--grid model.merge.router_depth=7: router_depth is 7: choose 0, 1 or 2; the paper "
            "uses 2. No point was run.",
        ),
        (
            ("--grid", "trainer.limit_test_batches=0"),
            "--grid trainer.limit_test_batches=0: trainer.limit_test_batches is 0, and so nothing "
            "would be scored: leave it out. No point was run.",
        ),
        (
            ("--grid", "model.references=false,true", "--select", "agreement"),
            "--grid model.references=false: --select is agreement, but the job does not compare "
            "its model with the experts: set model.references to true, or --select to "
            "information. No point was run.",
        ),
        (
            ("--grid", "seed_everything=0", "--model.lerning_rate", "1"),
            "There is no key 'lerning_rate'. Did you mean 'learning_rate'? ",
        ),
        (
            ("--grid", "config=ties", "--grid", "model.merge.init_lambda=0.3", "--suite",
             "miniature"),
            "The point config=ties,init_lambda=0.3 cannot be run: There is no key 'init_lambda'. ",
        ),
    ],
)  # fmt: skip
def test_a_config_that_no_point_can_have_is_refused_before_the_first_runs(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        run_sweep(tmp_path, *JOB, *arguments, runner=FakeRunner(checks=True))
    assert str(refused.value).startswith(sentence)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fault", "key", "sentence"),
    [
        (
            "There is no key 'trainer.max_step'. Did you mean 'trainer.max_steps'?",
            "trainer.max_step",
            "--grid: there is no key 'trainer.max_step'. Did you mean 'trainer.max_steps'?",
        ),
        (
            "There is no key 'lr'. Did you mean '--model.learning_rate'?",
            "lr",
            "--grid: there is no key 'lr'. Did you mean 'model.learning_rate'?",
        ),
        (
            "There is no key 'odd'. Valid names: even.",
            "model.merge.odd",
            "--grid: there is no key 'model.merge.odd'. Valid names: even.",
        ),
        ("No suite was given.", "seed", "--grid seed=1: No suite was given."),
    ],
)
def test_a_fault_names_keys_as_the_grid_does(fault: str, key: str, sentence: str) -> None:
    assert blame(fault, key, "1") == sentence

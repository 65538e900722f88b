"""The points of a sweep: their commands, and which of them is fit or test."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from helpers.sweeps import JOB, run_sweep

from wemoe_pl.cli.options import values_of
from wemoe_pl.cli.sweep.points import command_for
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.configs import find_config, shipped_configs
from wemoe_pl.system.own_packages import VARIABLE
from wemoe_pl.system.provenance import code_hash


def test_every_point_is_a_command_in_a_folder_of_its_own(tmp_path: Path) -> None:
    commands = run_sweep(tmp_path, *JOB).commands
    assert commands == [
        ["test", "--config", "task_arithmetic", "--trainer.accelerator", "cpu",
         f"--model.merge.scaling={scaling}", f"--seed_everything={seed}",
         "--out", str(tmp_path / "sweep" / f"scaling={scaling},seed_everything={seed}")]
        for scaling in ("0.2", "0.4") for seed in ("0", "1")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--config", "adapt_miniature"), "fit"),
        (("--config", "ties"), "test"),
        (("--config", "adapt_miniature", "--config", "robust"), "fit"),
        (("--config", "adapt_miniature", "--command", "test"), "test"),
        (("--config", "ties", "--config", "wandb"), "test"),
        (("--config", "ties", "--config", "trainer/ddp"), "test"),
        (("--config", "adapt_miniature", "--model.merge", "SimpleAverage"), "test"),
        (("--config", "ties", "--model.merge=wemoe_pl.WEMoE"), "fit"),
    ],
)
def test_the_command_is_the_one_that_the_config_documents(
    arguments: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    commands = run_sweep(tmp_path, *arguments, "--grid", "seed_everything=0").commands
    assert [command[0] for command in commands] == [expected]


@pytest.mark.parametrize("config", shipped_configs())
def test_the_command_is_the_one_that_every_shipped_config_says(config: str) -> None:
    text = Path(find_config(config)).read_text()
    line, *_ = re.findall(r"^#   wemoe-pl ((?:fit|test) .*)$", text, re.MULTILINE)
    command, *arguments = shlex.split(line)
    assert command_for([config], []) == command
    assert command_for(values_of(arguments, "--config"), arguments) == command


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{class_path: TestTimeAdaptation, init_args: {merge: TIES}}", "test"),
        ("{init_args: {merge: {class_path: wemoe_pl.merging.ties.TIES}}}", "test"),
        ("{class_path: TestTimeAdaptation, init_args: {merge: {class_path: WEMoE}}}", "fit"),
        ("{class_path: SampleMerging, init_args: {merge: Fisher}}", "fit"),
        ("{class_path: MultiTaskTraining}", "fit"),
        ("{class_path: mine.Model, init_args: {merge: mine.Merge}}", "fit"),
        ("[", "fit"),
    ],
)
def test_a_config_without_a_comment_is_known_by_its_model(
    model: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(f"model: {model}\n")
    assert command_for([str(tmp_path / "mine.yaml")], []) == expected


def test_methods_that_are_swept_have_each_its_command(tmp_path: Path) -> None:
    grid = ("--config", "adapt_miniature", "--grid", "model.merge=TIES,WEMoE")
    assert [command[0] for command in run_sweep(tmp_path, *grid).commands] == ["test", "fit"]


def test_whole_configs_can_be_swept(tmp_path: Path) -> None:
    commands = run_sweep(tmp_path, "--grid", "config=ties,fisher").commands
    assert [command[:3] for command in commands] == [
        ["test", "--config", "ties"], ["fit", "--config", "fisher"],
    ]  # fmt: skip


OWN = """
from wemoe_pl import TaskArithmetic, WEMoE
class Halved(TaskArithmetic): pass
class Sparse(WEMoE): pass
"""


@pytest.mark.parametrize(
    ("method", "expected"),
    [("swept_package.Halved", "test"), ("Halved", "test"), ("swept_package.methods.Sparse", "fit")],
)
def test_a_method_of_ones_own_is_known_too_where_it_is_allowed(
    method: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "swept_package").mkdir()
    (tmp_path / "swept_package/__init__.py").write_text("from .methods import Halved")
    (tmp_path / "swept_package/methods.py").write_text(OWN)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    job = ("--config", "adapt_miniature", "--allow", "swept_package")
    grid = ("--grid", f"model.merge={method},swept_package.Halved")
    assert [command[0] for command in run_sweep(tmp_path, *job, *grid).commands] == [
        expected,
        "test",
    ]
    (tmp_path / "swept_package/methods.py").write_text(f"{OWN}# other")
    code_hash.cache_clear()
    with pytest.raises(ConfigError, match=r"before the code of swept_package was changed"):
        run_sweep(tmp_path, *job, *grid)
    for name in ("swept_package", "swept_package.methods"):
        del sys.modules[name]

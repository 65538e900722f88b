"""What a shell offers behind `wemoe-pl`, and the scripts by which it asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wemoe_pl.bench.names import BENCH_MEASURES
from wemoe_pl.cli.completion import candidates, lines_for_shell, script
from wemoe_pl.cli.help import MODELS, job_parser, parser_of
from wemoe_pl.cli.options import COMMANDS, CONFIG
from wemoe_pl.cli.verb_parsers import SHELLS
from wemoe_pl.data.tasks import PAPER_TASKS, TALL20_TASKS
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.configs import shipped_configs, shipped_suites, shipped_trainers

BASH, ZSH, FISH = map(script, SHELLS)
SHIPPED = [n.removesuffix(".yaml") for n in (*shipped_configs(), *shipped_trainers())]
TASKS = sorted(TALL20_TASKS)
MINE = """
suite: suites/zoo.yaml
model: {class_path: TestTimeAdaptation, init_args: {learning_rate: 0.5, merge: {class_path: WEMoE}}}
trainer: {max_steps: 7, logger: null}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with configs of one's own: of two suites, and of none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs" / "suites").mkdir(parents=True)
    (tmp_path / "jobs" / "suites" / "zoo.yaml").write_text("{name: zoo, tasks: {pets: , birds: }}")
    (tmp_path / "jobs" / "mine.yaml").write_text(MINE)
    (tmp_path / "whole.yaml").write_text("suite: {name: sea, tasks: {fish: }}")
    (tmp_path / "more.yaml").write_text("trainer: {max_steps: 9, min_steps: 3}")
    (tmp_path / "notes.txt").write_text("no config")
    return tmp_path


def offers(line: str) -> list[str]:
    """What the last word of a line can become, which is empty behind a space."""
    return list(candidates(line.split(" ")))


# Names


def test_commands_are_offered_with_what_they_do() -> None:
    assert candidates([""]) == candidates([]) == COMMANDS | {"--help": "", "--version": ""}
    assert offers("pre") == ["predict", "prepare"]
    assert offers("--v") == ["--version"]


@pytest.mark.parametrize("line", ["fti ", "fti --", "--version ", "--config ", "--config=a"])
def test_nothing_is_offered_behind_what_is_no_command(line: str) -> None:
    assert offers(line) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_all_options_of_a_command_are_offered_each_by_one_name(command: str) -> None:
    parser = parser_of(command)
    long = {name: action.help for name, action in parser.options.items() if name[:2] == "--"}
    found = candidates([command, "-"])
    assert found == {name: told or "" for name, told in long.items()}


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("fit --ta", ["--task", "--tasks"]),
        ("fit --c", ["--config", "--ckpt_path"]),
        ("prepare --c", ["--config"]),
        ("check --f", ["--full", "--fresh"]),
        ("landscape --po", ["--points"]),
        ("sweep --gr", ["--grid"]),
        ("report --me", ["--mean-over-seeds"]),
        ("bench layer --sh", ["--shapes"]),
        ("fit --print_config --ou", ["--out"]),  # a switch, behind which no value stands
        ("report -h --so", ["--sort"]),
        ("fit --seed_everything 1 --ou", ["--out"]),
        ("fit --seed_everything -1 --ou", ["--out"]),
        ("fit --seed_everything=1 --ou", ["--out"]),
        ("fit --zzz", []),
    ],
)
def test_an_option_is_completed(line: str, options: list[str]) -> None:
    assert offers(line) == options


def test_where_an_option_can_stand_all_are_offered_at_once() -> None:
    assert offers("fit ") == offers("fit -")


# Values


@pytest.mark.parametrize("option", CONFIG)
@pytest.mark.parametrize("command", ["fit", "prepare", "sweep"])
def test_configs_are_those_shipped_and_those_here(command: str, option: str) -> None:
    assert offers(f"{command} {option} ") == [*SHIPPED, "more.yaml", "whole.yaml"]
    assert offers(f"{command} {option} adapt_m") == ["adapt_miniature"]
    assert offers(f"{command} --out x {option} mor") == ["more.yaml"]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("fit --suite ", shipped_suites()),
        ("fit --suite mini", ["miniature", "miniature20"]),
        ("fit --model ", [*MODELS]),
        ("fit --config mine --model M", ["MultiTaskTraining"]),
        ("report --format ", ["markdown", "csv", "latex"]),
        ("report runs --sort ", ["mean"]),
        ("sweep --command ", ["auto", "fit", "test"]),
        ("completion ", [*SHELLS]),
        ("completion f", ["fish"]),
        ("bench ", [*BENCH_MEASURES]),
        ("bench layer --seed 1 me", ["memory"]),
    ],
)
def test_a_value_is_one_of_those_that_are_taken(line: str, values: list[str]) -> None:
    assert offers(line) == values


@pytest.mark.parametrize(
    "line",
    [
        "fit --out ", "fit --ckpt_path ru", "fit --config jobs/", "fit --trainer.max_steps ",
        "fit --model.merge.init_lambda=", "bench --device ", "report ", "report runs/a ru",
        "report --format csv ", "report --out ", "fit --print_config=", "fit --print_config=t",
    ],
)  # fmt: skip
def test_what_is_not_known_is_left_to_the_shell(line: str) -> None:
    assert offers(line) == []


@pytest.mark.parametrize(
    ("given", "tasks"),
    [
        ("", TASKS),
        ("--config adapt_miniature", list(PAPER_TASKS)),
        ("--config jobs/mine.yaml", ["pets", "birds"]),
        ("-c jobs/mine.yaml", ["pets", "birds"]),
        ("--config=jobs/mine.yaml", ["pets", "birds"]),
        ("--config whole.yaml", ["fish"]),
        ("--config whole.yaml --config jobs/mine.yaml", ["pets", "birds"]),
        ("--config jobs/mine.yaml --config more.yaml", ["pets", "birds"]),
        ("--suite jobs/suites/zoo.yaml --config whole.yaml", ["pets", "birds"]),
        ("--config whole.yaml --suite=jobs/suites/zoo.yaml", ["pets", "birds"]),
        ("--suite miniature", list(PAPER_TASKS)),
        ("--suite nowhere --config nowhere", TASKS),
    ],
)
def test_tasks_are_those_of_the_suite_and_of_papers_without_one(
    given: str, tasks: list[str]
) -> None:
    assert sorted(offers(f"fit {given} --task ".replace("  ", " "))) == sorted(tasks)


def test_a_task_is_completed(tiny_suite_yaml: Path) -> None:
    assert offers(f"fit --suite {tiny_suite_yaml} --task ") == ["cars", "dtd", "mnist"]
    assert offers("fit --task s") == ["stl10", "sun397", "svhn"]
    assert offers("fit --config jobs/mine.yaml --task=p") == ["--task=pets"]


# Keys of a config


def test_keys_of_the_configs_are_offered_with_their_values() -> None:
    found = candidates(["fit", "--config", "jobs/mine.yaml", "--"])
    own = {name: value for name, value in found.items() if name not in job_parser("fit").options}
    assert own == {
        "--model": "TestTimeAdaptation",
        "--model.learning_rate": "0.5",
        "--model.merge": "WEMoE",
        "--trainer.max_steps": "7",
        "--trainer.logger": "None",
    }
    assert found["--suite"] == job_parser("fit").options["--suite"].help
    both = candidates(["fit", "-c", "jobs/mine.yaml", "--config=more.yaml", "--trainer.m"])
    assert both == {"--trainer.max_steps": "9", "--trainer.min_steps": "3"}


def test_no_keys_are_offered_without_a_config() -> None:
    assert offers("fit --trainer.") == offers("fit --config nowhere --trainer.") == []


def test_keys_of_what_is_written_in_a_config_are_offered_too() -> None:
    assert offers("sweep -c whole.yaml --suite.") == ["--suite.name", "--suite.tasks.fish"]


@pytest.mark.parametrize(
    "contents", [b"", b"- a\n- b\n", b"just words", b"suite: [miniature", b"\xff\xfe", b"a: !b c"]
)
def test_a_file_that_cannot_be_read_gives_nothing(contents: bytes, here: Path) -> None:
    (here / "odd.yaml").write_bytes(contents)
    assert offers("fit --config odd.yaml --") == offers("fit --")
    assert offers("fit --config odd.yaml --task ") == TASKS
    assert offers("fit --suite odd.yaml --task ") == TASKS


@pytest.mark.parametrize(
    "contents",
    ["suite: 3", "suite: [a]", "suite: {tasks: 3}", "suite: {tasks: }", "suite: nowhere.yaml"],
)
def test_a_config_with_an_odd_suite_gives_no_tasks(contents: str, here: Path) -> None:
    (here / "odd.yaml").write_text(contents)
    assert offers("fit --config odd.yaml --task ") == TASKS


# Options with `=`


def test_a_value_behind_an_equals_sign_is_completed_as_a_whole() -> None:
    assert offers("fit --config=adapt_m") == ["--config=adapt_miniature"]
    assert offers("fit --model=M") == ["--model=MultiTaskTraining"]
    assert offers("report --format=") == [f"--format={n}" for n in ("markdown", "csv", "latex")]
    assert offers("fit --config jobs/mine.yaml --trainer.max_steps=") == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["fit", "--config", "=", "adapt_m"], ["adapt_miniature"]),
        (["fit", "--config", "="], [*SHIPPED, "more.yaml", "whole.yaml"]),
        (["report", "runs", "--format", "=", "c"], ["csv"]),
        (["fit", "--config", "=", "jobs/mine.yaml", "--task", "="], ["pets", "birds"]),
        (["fit", "--config", "=", "jobs/mine.yaml", "--model.l"], ["--model.learning_rate"]),
        (["fit", "--out", "=", "=", "--tas"], ["--task", "--tasks"]),  # a folder called `=`
    ],
)
def test_a_value_is_found_where_bash_cuts_the_word(words: list[str], found: list[str]) -> None:
    assert list(candidates(words)) == found


# What the shells read


def test_an_answer_is_a_line_for_each_with_an_explanation_behind_a_tab(here: Path) -> None:
    assert lines_for_shell(["pred"]) == f"predict\t{COMMANDS['predict']}\n"
    assert lines_for_shell(["completion", ""]) == "bash\nzsh\nfish\n"
    assert lines_for_shell(["fit", "--out", ""]) == ""
    (here / "long.yaml").write_text("about: |\n  two\n  lines\tand a tab\n")
    assert lines_for_shell(["fit", "-c", "long.yaml", "--ab"]) == "--about\ttwo lines and a tab\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_there_is_a_script_for_every_shell(shell: str) -> None:
    assert script(shell) == script(shell).lstrip()
    assert script(shell).endswith("\n")
    assert "completion --complete" in script(shell)


@pytest.mark.parametrize(
    ("shell", "hint"), [("bsh", "Did you mean 'bash'? "), ("tcsh", ""), ("", "")]
)
def test_another_shell_is_answered_with_those_that_there_are(shell: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        script(shell)
    sentence = f"There is no script for '{shell}'. {hint}Valid names: bash, fish, zsh."
    assert str(refused.value) == sentence


def test_the_scripts_of_other_shells_are_whole() -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert ZSH.count(opening) == ZSH.count(closing)
        assert FISH.count(opening) == FISH.count(closing)
    assert all(text.count(quote) % 2 == 0 for text in (ZSH, FISH) for quote in "'\"")
    assert ZSH.endswith("\ncompdef _wemoe_pl wemoe-pl\n")
    words = [line.split()[0] for line in FISH.splitlines() if line.strip()]
    assert words.count("end") == words.count("function") + words.count("if")
    assert FISH.endswith("\ncomplete -c wemoe-pl -f -a '(__wemoe_pl)'\n")


def bash(text: str, *args: str, path: Path) -> list[str]:
    """The lines that bash prints where programs of a folder come before all others."""
    command = ["bash", "--norc", "--noprofile", "-u", "-c", text, "bash", *args]
    env = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs, with a `wemoe-pl` that is this one."""
    folder = tmp_path_factory.mktemp("programs")
    program = folder / "wemoe-pl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wemoe_pl "$@"\n')
    program.chmod(0o755)
    return folder


def test_bash_can_read_its_script() -> None:
    subprocess.run(["bash", "-n"], input=BASH, text=True, check=True)


def test_bash_completes_by_the_script_and_with_files_where_it_gives_nothing(programs: Path) -> None:
    text = "source <(wemoe-pl completion bash); complete -p wemoe-pl"
    assert bash(text, path=programs) == ["complete -o default -F _wemoe_pl wemoe-pl"]


@pytest.mark.parametrize(
    ("words", "cursor", "reply"),
    [
        (["pre"], 1, ["predict", "prepare"]),
        (["fit", "--config", "adapt_m"], 3, ["adapt_miniature"]),
        (["fit", "--config", "=", "adapt_m"], 4, ["adapt_miniature"]),
        (["fit", "--format", "csv", "--ta"], 4, ["--task", "--tasks"]),
        (["report", "--format", ""], 3, ["markdown", "csv", "latex"]),
        (["report", "--format", "="], 3, ["markdown", "csv", "latex"]),
        (["fit", "--model", "M", "--out", "x"], 3, ["MultiTaskTraining"]),  # words lie behind it
        (["fit", "--out", ""], 3, []),
        (["fti", ""], 2, []),
    ],
)
def test_what_bash_asks_becomes_its_reply(
    words: list[str], cursor: int, reply: list[str], programs: Path
) -> None:
    text = (
        "source <(wemoe-pl completion bash);"
        'COMP_WORDS=(wemoe-pl "${@:2}"); COMP_CWORD=$1; COMPREPLY=(of the last word);'
        '_wemoe_pl wemoe-pl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}";'
        'for each in "${COMPREPLY[@]}"; do echo "<$each>"; done'
    )
    found = bash(text, str(cursor), *words, path=programs)
    assert found == [f"<{each}>" for each in reply]

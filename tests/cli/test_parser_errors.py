"""Reports of jsonargparse's, turned into one sentence each, and the names that are suggested."""

import re
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import pytest

from wemoe_pl.cli import parser
from wemoe_pl.cli.job import run_job
from wemoe_pl.cli.parser_errors import BOILERPLATE, SENTENCES, Report, explain_report
from wemoe_pl.errors import ConfigError

KEYS = ["trainer.max_steps", "trainer.min_steps", "data.batch_size"]
UNION = """\
Parser key "{key}":
  Does not validate against any of the Union subtypes
  Subtypes: [{subtypes}, <class 'NoneType'>]
  Errors:
    - {first}
    - {second}
    - Expected a <class 'NoneType'>
  Given value type: <class 'str'>
  Given value: {value}"""


@pytest.mark.parametrize(
    "report",
    [
        "unrecognized arguments: --trainer.max_step 3",
        "Subcommand 'fit' does not accept option 'trainer.max_step'",
        "Group 'trainer' does not accept option 'trainer.max_step'",
        "Option 'trainer.max_step' is not accepted",
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(report: str) -> None:
    assert explain_report(report, KEYS) == (
        "There is no key 'trainer.max_step'. Did you mean 'trainer.max_steps'? "
        "Valid names: data.batch_size, trainer.max_steps, trainer.min_steps."
    )


def test_a_key_that_is_near_to_none_of_many_says_how_to_see_them() -> None:
    keys = [f"key.number.{i}" for i in range(100)]
    assert explain_report("unrecognized arguments: --zzz", keys) == (
        "There is no key 'zzz'. Add --print_config to see all keys."
    )


@pytest.mark.parametrize(
    ("key", "name", "answer"),
    [
        ("model", "TestTimeAdaption", "Did you mean 'TestTimeAdaptation'?"),
        ("data", "MultTaskData", "Did you mean 'MultiTaskData'?"),
        ("merge", "WEMOE", "Did you mean 'WEMoE'?"),
        ("suite.tasks", "MinatureTask", "Did you mean 'MiniatureTask'?"),
        ("trainer.logger", "WandbLoger", "Did you mean 'WandbLogger'?"),
    ],
)
def test_an_unknown_class_is_answered_with_the_nearest_that_fits_the_key(
    key: str, name: str, answer: str
) -> None:
    report = f'Parser key "{key}":\n  Expected a dot import path string: {name}'
    assert explain_report(report).startswith(f"There is no class '{name}'. {answer}")


def test_a_class_for_another_key_is_not_suggested() -> None:
    report = 'Parser key "merge":\n  Expected a dot import path string: MultiTaskDat'
    assert "MultiTaskData" not in explain_report(report)


def test_a_wrong_value_is_answered_with_the_type() -> None:
    report = "Parser key \"out\":\n  Expected a <class 'int'>. Got value: two"
    assert explain_report(report) == "out: expected int, got 'two'."


@pytest.mark.parametrize(
    ("value", "hint"),
    [("[1, 'a']", True), ("[True]", True), ("None", True), ("['a']", False), ("{'a': 'b'}", True)],
)
def test_what_yaml_took_for_no_text_is_to_be_quoted(value: str, hint: bool) -> None:
    report = f"Parser key \"tasks\":\n  Expected a <class 'str'>. Got value: {value}"
    expected = f"tasks: expected str, got '{value}'."
    quotes = " Put quotes around a name that YAML takes for something else, as in '1' or 'yes'."
    assert explain_report(report) == expected + quotes * hint


def test_all_types_of_a_union_are_named() -> None:
    report = UNION.format(
        key="seed_everything",
        subtypes="<class 'bool'>, <class 'int'>",
        first="Expected a <class 'bool'>",
        second="Expected a <class 'int'>",
        value="x",
    )
    assert explain_report(report) == "seed_everything: expected bool or int, got 'x'."


def test_what_the_parser_of_a_class_has_said_is_repeated_word_for_word() -> None:
    sentence = "There is no key 'lamda'. Did you mean 'lambda'? Valid names: depth, lambda."
    report = UNION.format(key="model", subtypes="Module", first=sentence, second="", value="…")
    assert explain_report(report) == sentence


def test_what_a_class_has_refused_is_repeated_word_for_word() -> None:
    sentence = "router_depth is 3: choose 0, 1 or 2."
    report = UNION.format(key="", subtypes="Module", first=sentence, second="", value="…")
    assert explain_report(report) == sentence


# What the installed version of jsonargparse says

FILES = {
    "tag.yaml": b"model: !!python/name:os.system",
    "cut.yaml": b"model: [",
    "empty.yaml": b"",
    "latin.yaml": "suite: \u00fc".encode("latin-1"),
    "group.yaml": b"trainer: {max_step: 2}",
    "nowhere.yaml": b"suite: no_such_suite.yaml",
}
JOB = "fit --config adapt_miniature"
# By a part of its pattern, a row of the table; a command that is answered by it; and its sentence.
CASES = [
    ("There is no ", f"{JOB} --model.merg WEMoE", "There is no key 'merg'. Did you mean 'merge'?"),
    ("There is no ", f"{JOB} --model.merge WEMoW", "There is no class 'WEMoW'. Did you mean"),
    ("The YAML", "fit --config tag.yaml", "tag.yaml: The YAML has the tag '!!python/name:os.sys"),
    ("may not name", f"{JOB} --model.merge os.system", "model: merge: A config may not name 'os."),
    ("is not allowed", f"{JOB} --model os.system", "model: A config may not name 'os.system': it "),
    ("[Oo]ption", f"{JOB} --zzz 1", "There is no key 'zzz'. "),
    ("[Oo]ption", f"{JOB} --model.merg WEMoE", "There is no key 'merg'."),
    ("[Oo]ption", f"{JOB} --config group.yaml", "There is no key 'trainer.max_step'. Did you"),
    (r"arguments: (\S", f"{JOB} -o runs/1", "There is no option '-o'. Did you mean '--out'?"),
    (r"arguments: (\S", "fit cut.yaml", "'cut.yaml' does not follow an option: give a config as "),
    ("dot import", f"{JOB} --model TestTimeAdaption", "There is no class 'TestTimeAdaption'."),
    ("dot import", f"{JOB} --model TIES", "'TIES' is a merge method: give --model.merge TIES."),
    ("no attribute", f"{JOB} --model.merge torch.nn.Linaer", "Did you mean 'torch.nn.Linear'?"),
    (
        "correspond",
        f"{JOB} --model.objective wemoe_pl.TIES",
        "objective: wemoe_pl.TIES is not derived from Objective: ",
    ),
    (
        "correspond",
        f"{JOB} --model.merge torch.nn.ReLU",
        "merge: torch.nn.ReLU is not derived from MergeMethod: ",
    ),
    ("invalid choice", "fti", "There is no command 'fti'. Did you mean 'fit'?"),
    ("subcommand", "", "Give a command: fit, validate, test, predict, "),
    ("are required", "fit --suite miniature", "No data was given: start from a config, with "),
    ("are required", "fit", "No suite was given: start from a config, with --config NAME."),
    (
        "Unexpected config",
        "fit --config empty.yaml",
        "empty.yaml: It is not a config: expected lines",
    ),
    ("Unable to load", "fit --config nowhere.yaml", "suite: there is no file no_such_suite.yaml."),
    ("compute_fn", f"{JOB} --seed_everything=-1", "seed_everything is -1: give a number from 0"),
    ("unicode string", "fit --config cut.yaml", "cut.yaml: not valid YAML near line 2."),
    ("unicode string", "fit --suite cut.yaml", "suite: cut.yaml: not valid YAML near line 2."),
    ("codec", "fit --config latin.yaml", "latin.yaml: it is not text in UTF-8."),
    ("Got|Given", f"{JOB} --seed_everything x", "seed_everything: expected bool or int, got 'x'."),
    ("Got|Given", f"{JOB} --model.merge.init_lambda a", "init_lambda: expected float, got 'a'."),
    (
        "Got|Given",
        f"{JOB} --tasks a,b",
        "tasks: expected a list, got 'a,b'. Write it in brackets: '[a,b]'.",
    ),
    (
        "Got|Given",
        f"{JOB} --unseen a",
        "unseen: expected a list, got 'a'. Write it in brackets: '[a]'.",
    ),
    (
        "Got|Given",
        f"{JOB} --model.infer_task entrpy",
        "model.infer_task: there is no 'entrpy'. Did you mean 'entropy'?",
    ),
]


@pytest.fixture
def reports_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """`reports_on("fit --zzz 1")`: what jsonargparse says of a command, and our sentence last."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["wemoe-pl"])  # Lightning warns when it has arguments
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)

    def run(command: str) -> list[str]:
        reports: list[str] = []

        def note(text: str, keys: Iterable[str] = ()) -> str:
            reports.append(text)
            return explain_report(text, keys)

        monkeypatch.setattr(parser, "explain_report", note)
        with pytest.raises(ConfigError) as refused:
            run_job(command.split())
        return [*reports, str(refused.value)]

    return run


def row_of(report: str) -> str:
    """The pattern of the row that answers a report; empty if it is passed on as it is."""
    found = ((pattern, re.search(pattern, report), sentence) for pattern, sentence in SENTENCES)
    return next((p for p, match, said in found if match and said(match, Report(report, ()))), "")


def test_every_row_of_the_table_is_provoked() -> None:
    rows = [[row for row, _ in SENTENCES if part in row] for part, _, _ in CASES]
    assert [row for [row] in rows] == [row for found in rows for row in found]
    assert {row for found in rows for row in found} == {row for row, _ in SENTENCES}


@pytest.mark.parametrize(("part", "command", "sentence"), CASES)
def test_a_report_is_worded_as_the_table_expects(
    part: str, command: str, sentence: str, reports_on: Callable[[str], list[str]]
) -> None:
    *reports, answer = reports_on(command)
    assert any(part in row_of(report) for report in reports), (
        f"jsonargparse {version('jsonargparse')} reports `{command}` in other words than the row "
        f"'{part}' of SENTENCES expects: adapt its pattern. It says: {reports}"
    )
    assert sentence in answer


def test_lines_that_say_where_jsonargparse_looked_begin_as_expected(
    reports_on: Callable[[str], list[str]],
) -> None:
    commands = (
        f"{JOB} --model os.system",
        "fit --config nowhere.yaml",
        f"{JOB} --trainer.callbacks a",
    )
    reports = [report for command in commands for report in reports_on(command)]
    lines = [line.strip(" -") for report in reports for line in report.splitlines()]
    unknown = [start for start in BOILERPLATE if not any(line.startswith(start) for line in lines)]
    assert not unknown, (
        f"jsonargparse {version('jsonargparse')} begins no line of its reports with {unknown}: "
        "adapt BOILERPLATE."
    )

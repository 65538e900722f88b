"""Tables of runs whose results and configs are written here."""

import csv
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
import yaml
from helpers.written_runs import hub_sources, printed_table, write_run

from wemoe_pl.data.tasks import PAPER_TASKS
from wemoe_pl.errors import ConfigError
from wemoe_pl.reporting.comparison import TableOptions
from wemoe_pl.reporting.published import published_rows
from wemoe_pl.reporting.report import report


def write_eight(folder: Path, **more: Any) -> Path:
    """Write a run of the eight tasks on CLIP."""
    scores = dict.fromkeys(PAPER_TASKS, 0.5)
    return write_run(folder, "WEMoE", scores, suite="CLIP ViT-B/32", **more)


def test_runs_below_a_folder_are_rows_of_one_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a" / "one", "TIES", {"cars": 0.5, "dtd": 0.7})
    write_run(tmp_path / "a" / "two", "WEMoE", {"cars": 0.6, "dtd": 0.6})
    lines = printed_table(capsys, tmp_path, tmp_path / "a" / "one")
    assert lines == [
        ["method", "cars", "dtd", "mean", "normalized mean"],
        ["---", "---:", "---:", "---:", "---:"],
        ["TIES", "50.0", "**70.0**", "**60.0**", "–"],
        ["WEMoE", "**60.0**", "60.0", "**60.0**", "–"],
    ]


def test_rows_of_one_method_are_told_apart_by_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for depth, seed in ((0, 0), (1, 0), (1, 1)):
        options = {"merge": {"init_args": {"router_depth": depth, "init_lambda": 0.3}}}
        write_run(tmp_path / f"{depth}{seed}", "WEMoE", {"cars": 0.5}, seed, options)
    write_run(tmp_path / "other", "TIES", {"cars": 0.5})
    labels = [line[0] for line in printed_table(capsys, tmp_path)[2:]]
    assert labels == [
        "WEMoE (router_depth 0)", "WEMoE (router_depth 1, seed 0)",
        "WEMoE (router_depth 1, seed 1)", "TIES",
    ]  # fmt: skip


def test_classes_are_named_alone_and_what_is_not_set_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, (path, rank) in enumerate([("wemoe_pl.Dense", None), ("wemoe_pl.a.LowRank", 4)]):
        options = {"compression": {"class_path": path, "init_args": {"rank": rank}}}
        write_run(tmp_path / str(i), "WEMoE", {"cars": 0.5}, options=options)
    labels = [line[0] for line in printed_table(capsys, tmp_path)[2:]]
    assert labels == ["WEMoE (Dense)", "WEMoE (LowRank, rank 4)"]


def test_two_runs_of_one_command_are_told_apart_by_their_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second"):
        write_run(tmp_path / name, "TIES", {"cars": 0.5})
    labels = [line[0] for line in printed_table(capsys, tmp_path)[2:]]
    assert labels == ["TIES (in first)", "TIES (in second)"]


def test_means_over_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = [0.5, 0.6, 0.62]
    for seed, value in enumerate(values):
        write_run(tmp_path / str(seed), "WEMoE", {"cars": value, "dtd": 0.1}, seed)
    report([str(tmp_path)], options=TableOptions(mean_over_seeds=True))
    told = f"| WEMoE | {100 * mean(values):.1f} ± {100 * stdev(values):.1f} | 10.0 ± 0.0 |"
    out = capsys.readouterr().out
    assert told in out
    assert "over seeds (3 of them)" in out


def test_how_a_run_was_made_makes_no_row_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, value in enumerate((0.5, 0.7)):
        config = write_run(tmp_path / str(seed), "WEMoE", {"cars": value}, seed) / "config.yaml"
        settings = yaml.safe_load(config.read_text()) | {"quiet": bool(seed)}
        settings["trainer"]["devices"] = 1 + seed
        config.write_text(yaml.safe_dump(settings))
    labels = [line[0] for line in printed_table(capsys, tmp_path)[2:]]
    assert labels == ["WEMoE (seed 0)", "WEMoE (seed 1)"]
    [row] = printed_table(capsys, tmp_path, options=TableOptions(mean_over_seeds=True))[2:]
    assert row[:2] == ["WEMoE", "60.0 ± 14.1"]


def test_experiments_have_tables_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = {"cars": 0.5, "dtd": 0.7}
    write_run(tmp_path / "clean", "WEMoE", both)
    spatter = {"kind": "spatter", "severity": 2}
    write_run(tmp_path / "spatter", "WEMoE", both, corruption=spatter)
    write_run(tmp_path / "unseen", "WEMoE", both, experts=["cars"])
    report([str(tmp_path)])
    out = capsys.readouterr().out
    for title in ("tiny, 2 tasks", "tiny, 2 tasks, spatter of severity 2",
                  "tiny, 2 tasks, unseen dtd"):  # fmt: skip
        assert f"### {title}\n" in out
    assert out.count("Rendered.") == 3


def test_references_and_unknown_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(
        tmp_path / "a", "WEMoE", {"cars": 0.6}, normalized_mean=0.75,
        reference={"pretrained": {"cars": 0.4}, "individual": {"cars": 0.8}},
        unknown_task={
            rule: {"accuracy": {}, "task_accuracy": {}, "mean": mean}
            for rule, mean in (("entropy", 0.3), ("routing", 0.55))
        },
    )  # fmt: skip
    lines = printed_table(capsys, tmp_path, options=TableOptions(references=True))
    assert lines[0][-2:] == ["task unknown (entropy)", "task unknown (routing)"]
    assert lines[2:] == [
        ["pretrained", "40.0", "40.0", "50.0", "–", "–"],
        ["WEMoE", "**60.0**", "**60.0**", "**75.0**", "30.0", "55.0"],
        ["individual", "80.0", "80.0", "100.0", "–", "–"],
    ]


def test_a_method_is_spelled_alike_as_a_row_and_as_a_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = {"task_arithmetic": {"cars": 0.4}}
    write_run(tmp_path / "a", "TaskArithmetic", {"cars": 0.5})
    write_run(tmp_path / "b", "TaskArithmetic + LiNeS", {"cars": 0.6}, reference=reference)
    options = TableOptions(references=True)
    lines = printed_table(capsys, tmp_path, options=options)
    assert [line[0] for line in lines[2:]] == ["task arithmetic", "task arithmetic + LiNeS"]
    lines = printed_table(capsys, tmp_path / "b", options=options)
    assert [line[0] for line in lines[2:]] == ["task arithmetic", "task arithmetic + LiNeS"]


def test_a_run_of_the_experts_themselves_normalises_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", "WEMoE", {"cars": 0.6, "dtd": 0.4})
    write_run(tmp_path / "b", "Individual", {"cars": 0.8, "dtd": 0.5})
    lines = printed_table(capsys, tmp_path)
    assert [line[-1] for line in lines[2:]] == ["77.5", "100.0"]


def test_published_rows_stand_below_marked_with_their_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_eight(tmp_path / "a", sources=hub_sources(PAPER_TASKS))
    options = TableOptions(published=True)
    lines = printed_table(capsys, tmp_path, options=options)
    rows = published_rows("CLIP ViT-B/32", "eight tasks", "C")
    assert [line[0] for line in lines[3:]] == [f"{row.method} †" for row in rows]
    for line, row in zip(lines[3:], rows, strict=True):
        known = [row.accuracy.get(task) for task in PAPER_TASKS]
        assert line[1:9] == ["–" if v is None else f"{100 * v:.1f}" for v in known]
    report([str(tmp_path)], "csv", tmp_path / "t.csv", options)
    with (tmp_path / "t.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {line["source"] for line in table[1:]} == {row.origin for row in rows}
    assert {line["checkpoint_family"] for line in table[1:]} == {"C"}
    assert table[0]["source"] == "this program"


@pytest.mark.parametrize("stated", ["A", "B corrected"])
def test_runs_of_other_checkpoints_have_the_figures_of_the_family_that_is_stated(
    stated: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_eight(tmp_path / "a")
    options = TableOptions(published=True, family=stated)
    lines = printed_table(capsys, tmp_path, options=options)
    rows = published_rows("CLIP ViT-B/32", "eight tasks", stated)
    assert rows
    assert [line[0] for line in lines[3:]] == [f"{row.method} †" for row in rows]


def test_figures_of_two_families_are_not_put_side_by_side(tmp_path: Path) -> None:
    hub = write_eight(tmp_path / "hub", sources=hub_sources(PAPER_TASKS))
    own = write_eight(tmp_path / "own")
    for folders, family, sentence in (
        ([own], None, f"The sources of {own} do not tell the family of its experts"),
        ([hub], "B leaky", f"The experts of {hub} are of family 'C' (experts on the hub"),
        ([hub, own], None, f"The sources of {own} do not tell"),
        ([own, hub], "A", f"The experts of {hub} are of family 'C'"),
    ):
        with pytest.raises(ConfigError) as raised:
            report(list(map(str, folders)), options=TableOptions(published=True, family=family))
        assert str(raised.value).startswith(sentence)


def test_where_nothing_is_published_a_sentence_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", "WEMoE", {"cars": 0.6})
    report([str(tmp_path)], options=TableOptions(published=True))
    assert "Nothing is published for this suite, experiment and family" in capsys.readouterr().out


def test_rows_can_be_sorted_by_their_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("A", 0.9), ("B", 0.2), ("C", 0.5)):
        write_run(tmp_path / name, name, {"cars": value})
    lines = printed_table(capsys, tmp_path, options=TableOptions(sort="mean"))
    assert [line[0] for line in lines[2:]] == ["B", "C", "A"]


def test_a_table_says_which_tasks_a_normalized_mean_is_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experts = {"individual": {"cars": 0.0, "dtd": 0.8}}
    for name in ("a", "b"):
        write_run(tmp_path / name, "TIES", {"cars": 0.5, "dtd": 0.7}, reference=experts)
    report([str(tmp_path)])
    note = "The normalized mean leaves out cars, where the task's own expert is never right."
    assert capsys.readouterr().out.count(note) == 1


def test_a_single_run_stands_beside_what_it_was_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = {"pretrained": {"cars": 0.4}, "individual": {"cars": 0.8}}
    write_run(tmp_path / "a", "TIES", {"cars": 0.6}, reference=reference, normalized_mean=0.75)
    lines = printed_table(capsys, tmp_path)
    assert lines[2:] == [
        ["pretrained", "40.0", "40.0", "50.0"],
        ["TIES", "**60.0**", "**60.0**", "**75.0**"],
        ["individual", "80.0", "80.0", "100.0"],
    ]
    write_run(tmp_path / "b", "CART", {"cars": 0.7}, reference=reference)
    assert len(printed_table(capsys, tmp_path)) == 4  # of two, when they are asked for

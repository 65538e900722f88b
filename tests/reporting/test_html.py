"""The page of many runs: what is written, and what a browser makes of it."""

import base64
import csv
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from wemoe_pl.errors import CheckpointError, DataError, WeMoEError
from wemoe_pl.reporting.analysis import write_rows
from wemoe_pl.reporting.html import (
    FIGURE_CAPTIONS,
    MEDIA_TYPES,
    Experiment,
    Section,
    data_uri,
    notes_of,
    read_routing,
    with_sign,
    write_page,
)
from wemoe_pl.reporting.table import Cell, ResultRow, ResultTable
from wemoe_pl.runs.folder import RunFolder, is_of_run

TASKS = ["cars", "mnist"]
EXPERTS = ["cars", "mnist", "a name that is longer than most of them"]
BLOCKS = 3
HOSTILE = "<script>alert(\"'1'\")</script>&amp;</script>"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"><rect width="4"/></svg>'
# By label: the cells of a row, in percent.
OURS = {"TIES": (70, 90, 80, None), "WEMoE": (80, 85, 82.5, 95), "Individual": (90, 99, 94.5, 100)}
PUBLISHED = {"TIES": (60, 80, 70, None), "WEMoE (depth 2)": (75, 70, 72.5, None)}


def section(folder: Path, label: str = "WEMoE", **more: Any) -> Section:
    """A run in a folder that is there, with nothing in it yet."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {"suite": "tiny", "method": "WEMoE", "tasks": TASKS, "accuracy": {}, "mean": 0.825}
    return Section(label, folder, results | more)


def result_table(**more: Any) -> ResultTable:
    """Three rows of ours and two published ones."""

    def row(label: str, numbers: Sequence[float | None], **about: Any) -> ResultRow:
        values = [None if number is None else number / 100 for number in numbers]
        return ResultRow(label, [Cell(value) for value in values], **about)

    parts: dict[str, Any] = {
        "suite": "tiny",
        "title": "tiny, 2 tasks",
        "corruption": "",
        "columns": [*TASKS, "mean", "normalized mean"],
        "rows": [row(n, v, is_ceiling=n == "Individual") for n, v in OURS.items()],
        "published": [row(n, v, source="a table", family="C") for n, v in PUBLISHED.items()],
        "notes": [],
    }
    return ResultTable(**{**parts, **more})


def weight(task: int, block: int, expert: int) -> float:
    """A mean routing weight by which its place is known; some are negative, none is 0."""
    sign = -1 if (block + expert) % 2 else 1
    return sign * (0.111 + 0.3 * task + 0.1 * block + 0.02 * expert)


def share(task: int, block: int, expert: int) -> float:
    """A share by which its place is known."""
    return 0.04 + 0.5 * task + 0.1 * block + 0.03 * expert


def routing_lines(
    tasks: Sequence[str] = TASKS, experts: Sequence[str] = EXPERTS
) -> list[list[str]]:
    """The lines of a `routing.csv`."""
    places = product(enumerate(tasks), range(BLOCKS), enumerate(experts))
    return [["task", "block", "expert", "mean_weight", "largest_share"]] + [
        [task, str(b), expert, str(weight(t, b, e)), str(share(t, b, e))]
        for (t, task), b, (e, expert) in places
    ]


def write_lines(path: Path, lines: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)


class Reading(HTMLParser):
    """A page as a browser reads it: its elements, and the text in each kind of them."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        if tag not in ("meta", "link", "img", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind that have some."""
        found = [attrs for kind, attrs in self.elements if kind == tag]
        return [attrs for attrs in found if attributes.items() <= attrs.items()]

    def words(self, tag: str) -> list[str]:
        """The text in all elements of a kind, spaces made one."""
        return [" ".join(text.split()) for text in self.texts.get(tag, [])]


def written(
    path: Path, *sections: Section, table: ResultTable | None = None, **more: Any
) -> Reading:
    """A page of one experiment."""
    experiment = Experiment([table or result_table()], sections)
    write_page(path, [experiment], ["runs"], **more)
    return Reading(path.read_text("utf-8"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.html"


# The page as a whole


def test_a_page_says_what_it_is_of_and_from_where(out: Path, tmp_path: Path) -> None:
    first = Experiment([result_table()], [section(tmp_path / "a"), section(tmp_path / "b")])
    second = Experiment([result_table(title="tiny, cars only")], [section(tmp_path / "c")])
    write_page(out, [first, second], ["runs/a & b", "runs/c"])
    page = Reading(out.read_text("utf-8"))
    assert page.words("h1") == ["tiny"]
    assert page.words("h2") == ["tiny, 2 tasks", "tiny, cars only"]
    [made] = [words for words in page.words("p") if "put together" in words]
    assert made.startswith("3 runs in 2 tables, put together")
    assert made.endswith("from runs/a & b, runs/c")
    assert page.words("li") == page.words("h2")


def test_nothing_is_fetched_and_nothing_else_is_allowed(out: Path, tmp_path: Path) -> None:
    one = section(tmp_path)
    (tmp_path / "accuracy.svg").write_text(SVG)
    write_lines(tmp_path / "routing.csv", routing_lines())
    page = written(out, one)
    named = [attrs.get(key) or "" for _, attrs in page.elements for key in ("src", "href")]
    assert {value.partition(",")[0] for value in named if value and value[0] != "#"} == {
        "data:", "data:image/svg+xml;base64",
    }  # fmt: skip
    keys = {key for _, attrs in page.elements for key in attrs}
    assert keys.isdisjoint({"action", "srcset", "style", "onclick", "onload"})
    [style] = page.texts["style"]
    assert "url(" not in style
    assert "@import" not in style
    policy = dict(part.split(" ", 1) for part in content_policy(page).split("; "))
    *data, script = page.texts["script"]
    assert policy == {
        "default-src": "'none'", "base-uri": "'none'", "form-action": "'none'",
        "img-src": "data:", "style-src": hash_source(style), "script-src": hash_source(script),
    }  # fmt: skip
    assert len(data) == len(page.all("script", type="application/json")) == 1


def content_policy(page: Reading) -> str:
    [meta] = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    return meta["content"] or ""


def hash_source(text: str) -> str:
    digest = hashlib.new("sha256", text.encode()).hexdigest()
    return f"'sha256-{base64.b64encode(bytes.fromhex(digest)).decode()}'"


def test_whatever_stands_in_files_is_only_text(out: Path, tmp_path: Path) -> None:
    one = section(
        tmp_path / "o'clock & \"more\"", f"label {HOSTILE}", suite=f"suite {HOSTILE}",
        method=f"method {HOSTILE}", note=f"note {HOSTILE}", seed=HOSTILE, command=f"run {HOSTILE}",
        guard={"collapsed": {f"task {HOSTILE}": 3}, "restored_step": HOSTILE},
        versions={f"name {HOSTILE}": f"version {HOSTILE}"},
        sources={f"part {HOSTILE}": {"source": f"source {HOSTILE}", "sha256": HOSTILE}},
    )  # fmt: skip
    (one.folder / "accuracy.svg").write_text(SVG)
    write_lines(one.folder / "routing.csv", routing_lines([HOSTILE], [HOSTILE, '"']))
    rows = [ResultRow(f"row {HOSTILE}", [Cell(0.5)], source=f"of {HOSTILE}", family=HOSTILE)]
    table = result_table(
        suite=f"suite {HOSTILE}", title=f"title {HOSTILE}", columns=[f"column {HOSTILE}"],
        rows=rows, published=rows, notes=[f"remark {HOSTILE}"],
    )  # fmt: skip
    page = written(out, one, table=table)
    data, script = page.texts["script"]
    assert HOSTILE not in script
    assert json.loads(data)["task"] == [HOSTILE]
    assert json.loads(data)["expert"] == [HOSTILE, '"']
    assert "</" not in data
    [body] = page.words("body")
    for name in ("suite", "method", "note", "run", "name", "version", "part", "source", "row", "of",
                 "title", "column", "remark"):  # fmt: skip
        assert f"{name} {HOSTILE}" in body
    assert page.words("option") == [HOSTILE]
    assert str(one.folder) in page.words("code")
    image, _ = page.all("img")
    assert image["alt"] == f"{FIGURE_CAPTIONS['accuracy']}, of label {HOSTILE}"


def test_notes_of_suites_stand_at_the_head_once_and_others_below_the_table(
    out: Path, tmp_path: Path
) -> None:
    runs = [section(tmp_path / name, note="Rendered images.") for name in ("a", "b")]
    page = written(out, *runs, table=result_table(notes=["Rendered images.", "Mean ± deviation."]))
    assert page.words("p").count("tiny: Rendered images.") == 1
    assert page.words("p").count("Mean ± deviation.") == 1
    assert page.words("body")[0].count("Rendered images.") == 1
    assert notes_of([Experiment([result_table()], [section(tmp_path, note="")])]) == {}


def test_half_a_character_does_not_keep_a_page_from_being_written(
    out: Path, tmp_path: Path
) -> None:
    page = written(out, section(tmp_path, seed=json.loads('"\\ud83d"')))
    assert "?" in page.words("dd")


def test_a_page_is_written_whole_or_not_at_all(out: Path, tmp_path: Path) -> None:
    one = section(tmp_path / "run")
    out.write_text("the page before")
    (one.folder / "routing.csv").write_text("")
    with pytest.raises(CheckpointError):
        written(out, one)
    assert out.read_text() == "the page before"
    (one.folder / "routing.csv").unlink()
    with pytest.raises(WeMoEError, match=r"Cannot write .*run: "):
        written(one.folder, one)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out.html", "run"]


# The table


def test_the_best_of_a_column_is_emphasised_and_published_rows_are_marked(
    out: Path, tmp_path: Path
) -> None:
    page = written(out, section(tmp_path))
    emphasised = [text for text in page.words("strong") if text[0].isdigit()]
    assert emphasised == ["90.0", "80.0", "82.5"]
    heads = page.words("th")
    assert [head for head in heads if "†" in head] == [
        "† Published, not run here: checkpoints of family C, a table",
        "TIES †",
        "WEMoE (depth 2) †",
    ]
    values = [attrs["data-value"] for attrs in page.all("td") if "data-value" in attrs]
    numbers = [n for row in (*OURS.values(), *PUBLISHED.values()) for n in row]
    assert values == ["" if n is None else str(n / 100) for n in numbers]


def test_published_rows_stand_together_by_where_they_are_from(out: Path, tmp_path: Path) -> None:
    origins = [("A", "C", "a page"), ("B", "A", "a page"), ("C", "C", "a page")]
    rows = [
        ResultRow(name, [Cell(0.5)] * 4, family=f, source=source) for name, f, source in origins
    ]
    page = written(out, section(tmp_path), table=result_table(published=rows))
    assert len(page.all("tbody", **{"class": "published"})) == 2
    assert [head for head in page.words("th") if "†" in head] == [
        "† Published, not run here: checkpoints of family C, a page", "A †", "C †",
        "† Published, not run here: checkpoints of family A, a page", "B †",
    ]  # fmt: skip


@pytest.mark.parametrize(("sort", "heads"), [(None, []), ("mean", ["mean"])])
def test_a_table_that_is_sorted_already_says_so(
    sort: str | None, heads: list[str], out: Path, tmp_path: Path
) -> None:
    page = written(out, section(tmp_path), sort=sort)
    columns = [attrs for attrs in page.all("th", scope="col") if "aria-sort" in attrs]
    names = [word for word in page.words("button") if word not in ("Copy", "", "Close")]
    said = {name: attrs["aria-sort"] for name, attrs in zip(names, columns, strict=True)}
    assert [name for name in said if said[name] == "ascending"] == heads


def test_rows_lead_to_their_runs_and_those_without_a_row_are_listed(
    out: Path, tmp_path: Path
) -> None:
    labels = ("TIES", "WEMoE (seed 0)", "WEMoE (seed 1)")
    runs = [section(tmp_path / label, label) for label in labels]
    page = written(out, *runs)
    assert page.words("h3") == [*labels]
    assert [attrs["id"] for attrs in page.all("article")] == [run.anchor for run in runs]
    assert [attrs["href"] for attrs in page.all("a")] == [f"#{run.anchor}" for run in runs]
    assert page.words("a") == [*labels]
    assert len({run.anchor for run in runs}) == 3


def test_a_row_of_which_two_runs_bear_the_name_leads_to_neither(tmp_path: Path) -> None:
    twins = [section(tmp_path / name) for name in ("a", "b")]
    experiment = Experiment([result_table()], twins)
    assert experiment.anchor("WEMoE") is None
    assert experiment.without_a_row == twins


# A run


def test_facts_are_told_in_a_few_words(tmp_path: Path) -> None:
    one = section(
        tmp_path, seed=3, normalized_mean=0.9134, parameters={"total": 1234567, "trainable": 890},
        seconds={"fit": 1234.56, "test": 7.0},
    )  # fmt: skip
    assert one.facts == {
        "method": "WEMoE", "suite": "tiny", "seed": "3", "mean": "82.5 %",
        "normalized mean": "91.3 %", "parameters": "1,234,567 (890 trained)",
        "seconds": "fit 1,234.6, test 7.0",
    }  # fmt: skip


def test_what_an_older_version_did_not_record_is_left_out(out: Path, tmp_path: Path) -> None:
    one = section(tmp_path, mean=None, normalized_mean=None)
    assert one.facts == {"method": "WEMoE", "suite": "tiny"}
    page = written(out, one)
    assert page.words("summary") == page.words("figure") == []
    assert with_sign(None) is None


def test_versions_and_sources_are_told_on_request(out: Path, tmp_path: Path) -> None:
    sources = {"experts/cars": {"source": "shipped:cars", "sha256": "a1" * 32}}
    page = written(out, section(tmp_path, versions={"torch": "2.14.1"}, sources=sources))
    assert page.words("summary") == ["Versions", "Sources and their hashes"]
    assert all("open" not in attrs for attrs in page.all("details"))
    assert "torch2.14.1" in [word.replace(" ", "") for word in page.words("div")]
    assert [page.words("th")[-1], *page.words("td")[-2:]] == [
        "experts/cars", "shipped:cars", "a1" * 32,
    ]  # fmt: skip


def test_what_the_guard_saw_is_told_and_nothing_if_it_saw_nothing(
    out: Path, tmp_path: Path
) -> None:
    guard = {"action": "restore", "collapsed": {"mnist": 23}, "restored_step": 10}
    [told] = written(out, section(tmp_path, guard=guard)).words("main")
    assert "the answers for mnist came to spread over few classes, first seen at step 23" in told
    assert "ended the run with the state of step 10" in told
    quiet: dict[str, Any] = {"action": "warn", "collapsed": {}, "restored_step": None}
    for report in (quiet, None):
        [told] = written(out, section(tmp_path, guard=report)).words("main")
        assert "Collapse" not in told
        assert "The guard" not in told


def test_the_command_is_the_one_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    assert section(tmp_path, command="wemoe-pl fit -c x").command == "wemoe-pl fit -c x"


@pytest.mark.parametrize(
    ("folders", "more", "verb"),
    [([], {}, "test"), (["checkpoints"], {}, "fit"), ([], {"guard": {"action": "warn"}}, "fit")],
)
def test_without_one_the_command_follows_from_what_lies_there(
    folders: list[str], more: dict[str, Any], verb: str, tmp_path: Path
) -> None:
    one = section(tmp_path / "a run", **more)
    (one.folder / "config.yaml").touch()
    for folder in folders:
        (one.folder / folder).mkdir()
    config = one.folder / "config.yaml"
    assert one.command == f"wemoe-pl {verb} --config '{config}' --out runs/again"


def test_where_the_config_is_gone_no_command_is_told(out: Path, tmp_path: Path) -> None:
    page = written(out, section(tmp_path))
    assert "Copy" not in page.words("button")
    assert any(text.startswith("Its config.yaml is gone") for text in page.words("p"))


# Figures


def test_a_run_leaves_the_figures_that_have_a_caption(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for stem, suffix in product(FIGURE_CAPTIONS, MEDIA_TYPES):
        assert is_of_run(f"{stem}{suffix}", run)


def test_pictures_are_held_in_the_page_as_vectors_where_there_are_any(
    out: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "routing.png")
    Image.new("RGB", (3, 2)).save(tmp_path / "accuracy.png")
    (tmp_path / "accuracy.svg").write_text(f'<?xml version="1.0"?>\n{SVG}')
    Image.new("RGB", (3, 2)).save(tmp_path / "unknown.png")
    *images, enlarged = written(out, section(tmp_path, "WEMoE (depth 1)")).all("img")
    assert enlarged["src"] == "data:,"  # until one is clicked on
    for image, name in zip(images, ("accuracy.svg", "routing.png"), strict=True):
        kind, data = (image["src"] or "").split(",")
        assert kind == f"data:image/{'svg+xml' if name[-3:] == 'svg' else 'png'};base64"
        assert base64.b64decode(data) == (tmp_path / name).read_bytes()
        assert image["alt"] == f"{FIGURE_CAPTIONS[name[:-4]]}, of WEMoE (depth 1)"


def classes_of(element: WebElement) -> list[str]:
    """The classes of an element of a page."""
    return (element.get_attribute("class") or "").split()


def whole_png(path: Path) -> bytes:
    Image.effect_noise((20, 20), 50).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("routing.png", b""), ("routing.png", b"no picture"), ("routing.png", SVG.encode()),
        ("routing.svg", b""), ("routing.svg", b"<svg"), ("routing.svg", b"<html></html>"),
        ("routing.svg", b"\x89PNG"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_picture_is_named(name: str, contents: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(DataError) as refused:
        _ = section(tmp_path).figures
    path = tmp_path / name
    sentence = f"{path} cannot be read as a picture: delete it, or make the run again."
    assert str(refused.value) == sentence


def test_a_picture_that_was_cut_off_or_changed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "routing.png"
    whole = whole_png(path)
    assert data_uri(path).startswith("data:image/png;base64,iVBOR")
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:middle] + b"\0\0" + whole[middle + 2 :]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"routing\.png cannot be read as a picture"):
            data_uri(path)


# Routing


def test_names_that_a_spreadsheet_would_run_are_read_as_they_were(tmp_path: Path) -> None:
    tasks, experts = ["=1+1", "'=1"], ["-a", "@b"]
    header, *rows = routing_lines(tasks, experts)
    write_rows(tmp_path / "routing.csv", header, rows)
    text = (tmp_path / "routing.csv").read_text()
    assert not re.search(r"(^|,)[=@]", text, re.MULTILINE)
    routing = read_routing(tmp_path / "routing.csv")
    assert (routing["task"], routing["expert"]) == (tasks, experts)


def test_routing_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_lines(tmp_path / "routing.csv", routing_lines())
    routing = read_routing(tmp_path / "routing.csv")
    assert (routing["task"], routing["expert"]) == (TASKS, EXPERTS)
    assert routing["block"] == ["0", "1", "2"]
    place = (1 * BLOCKS + 2) * len(EXPERTS) + 1
    assert routing["mean_weight"][place] == weight(1, 2, 1)
    assert routing["largest_share"][place] == share(1, 2, 1)
    assert section(tmp_path).routing == routing | {"start": 0}
    merge = {"class_path": "wemoe_pl.WEMoE", "init_args": {"init_lambda": 0.3}}
    assert section(tmp_path, merge=merge).routing == routing | {"start": 0.3}
    assert section(tmp_path / "elsewhere").routing is None


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [],
        lambda lines: lines[:1],
        lambda lines: lines[:-1],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines[:-2], lines[-1], lines[-2]],
        lambda lines: [line[:-1] for line in lines],
        lambda lines: [*lines[:-1], lines[-1][:-1]],
        lambda lines: [*lines[:-1], [*lines[-1][:-1], "high"]],
        lambda lines: [*lines[:-1], [*lines[-1][:-1], "nan"]],
    ],
    ids=["empty", "head only", "cut off", "a line twice", "another order", "a column less",
         "half a line", "no number", "not finite"],
)  # fmt: skip
def test_routing_that_is_damaged_is_named(change: Any, tmp_path: Path) -> None:
    path = tmp_path / "routing.csv"
    write_lines(path, change(routing_lines()))
    with pytest.raises(CheckpointError) as refused:
        read_routing(path)
    told = "is damaged or was not written by wemoe-pl: delete it, or make the run again."
    assert str(refused.value) == f"{path} {told}"


def test_routing_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "routing.csv"
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(CheckpointError, match=r"routing\.csv is damaged"):
        read_routing(path)


# In a browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
# The text of every element that has some of its own, its colour, and what is behind it.
COLOURS = """
const opaque = (colour) => colour !== "rgba(0, 0, 0, 0)";
const behind = (element) => {
  const { backgroundColor } = getComputedStyle(element);
  return opaque(backgroundColor) ? backgroundColor : behind(element.parentElement);
};
return [...document.body.querySelectorAll("*")]
  .filter((element) => element.checkVisibility({ visibilityProperty: true }))
  .filter((element) => [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
  .map((element) => [element.textContent, getComputedStyle(element).color, behind(element)]);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser of its own, that talks to nobody."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("There is no browser: install the packages chromium and chromium-driver.")
    options = Options()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    with webdriver.Chrome(options, Service(driver)) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that a page can have, and names as long as they get."""
    folder = tmp_path_factory.mktemp("page")
    sources = {"experts/cars": {"source": "owner/" + "name-" * 20, "sha256": "a1" * 32}}
    one = section(
        folder / "one", seed=0, normalized_mean=0.95, note="Rendered images.",
        parameters={"total": 10**9, "trainable": 10**6}, seconds={"fit": 1.0, "test": 2.0},
        command="wemoe-pl fit --config " + "long/" * 40 + "config.yaml", sources=sources,
        versions=dict.fromkeys(("torch", "torchvision", "lightning", "timm", "numpy"), "2.14.1"),
        guard={"collapsed": {"mnist": 23}, "restored_step": 10},
    )  # fmt: skip
    write_lines(one.folder / "routing.csv", routing_lines())
    Image.new("RGB", (2000, 300)).save(one.folder / "routing.png")
    (one.folder / "accuracy.svg").write_text(SVG.replace('"4"', '"4000"'))
    other = section(folder / "two", "TIES")
    columns = [*TASKS, "mean", "normalized mean"]
    more = [f"task unknown {i}" for i in range(12)]
    rows = [
        ResultRow(r.label, [*r.cells, *[Cell(0.5)] * 12], is_ceiling=r.is_ceiling)
        for r in result_table().rows
    ]
    wide = result_table(title="wide", columns=[*columns, *more], rows=rows, published=[])
    experiments = [
        Experiment([result_table(notes=["Remark."])], [one, other]),
        Experiment([wide], []),
    ]
    write_page(folder / "out.html", experiments, ["a/" * 100])
    return folder / "out.html"


@pytest.fixture
def page(browser: webdriver.Chrome, page_file: Path) -> Iterator[webdriver.Chrome]:
    """The page, newly opened, about which the browser has nothing to complain."""
    look(browser, 1280, "light")
    complaints(browser)  # of another page
    browser.get(page_file.as_uri())
    yield browser
    assert complaints(browser) == []
    fetched = browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert [name for name in fetched if not name.startswith("data:")] == []


def complaints(browser: webdriver.Chrome) -> list[str]:
    """What stands in the console, which is empty then."""
    entries: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in entries]


def look(browser: webdriver.Chrome, width: int, scheme: str) -> None:
    """Have a window of a width, and a colour scheme."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def first(page: webdriver.Chrome, selector: str) -> WebElement:
    return page.find_elements(By.CSS_SELECTOR, selector)[0]


def head_of(page: webdriver.Chrome, column: int) -> WebElement:
    return first(page, f"table.accuracy thead th:nth-child({column + 1})")


def order(page: webdriver.Chrome, body: str) -> list[str]:
    rows = page.find_elements(By.CSS_SELECTOR, f"table.accuracy {body} tr:not(.divider) th")
    return [row.text.partition(" †")[0] for row in rows[: len(OURS)]]


def ranked(rows: Mapping[str, Sequence[float | None]], column: int, best_first: bool) -> list[str]:
    """The names of rows by a column, those without a number last."""
    known = {name: value for name, row in rows.items() if (value := row[column]) is not None}
    unknown = [name for name in rows if name not in known]
    return sorted(known, key=known.__getitem__, reverse=best_first) + unknown


@pytest.mark.parametrize("column", [1, 2, 3, 4])
def test_a_click_on_a_column_sorts_its_best_first_and_another_turns_that_around(
    column: int, page: webdriver.Chrome
) -> None:
    assert order(page, "tbody:not(.published)") == [*OURS]
    for best_first, said in ((True, "descending"), (False, "ascending"), (True, "descending")):
        head_of(page, column).find_element(By.TAG_NAME, "button").click()
        assert head_of(page, column).get_attribute("aria-sort") == said
        assert order(page, "tbody:not(.published)") == ranked(OURS, column - 1, best_first)
        assert order(page, "tbody.published") == ranked(PUBLISHED, column - 1, best_first)


def test_keys_sort_too_and_only_one_column_says_that_it_is_sorted(page: webdriver.Chrome) -> None:
    head_of(page, 1).find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    head_of(page, 0).find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    said = [head_of(page, column).get_attribute("aria-sort") for column in range(5)]
    assert said == ["ascending", "none", "none", "none", "none"]
    assert order(page, "tbody:not(.published)") == sorted(OURS)


def test_published_rows_stay_below_under_their_heading(page: webdriver.Chrome) -> None:
    for column in range(5):
        head_of(page, column).find_element(By.TAG_NAME, "button").click()
        table = first(page, "table.accuracy")
        labels = [row.text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]
        marks = ["†" in label for label in labels]
        assert marks == [False] * len(OURS) + [True] * (1 + len(PUBLISHED))
        assert labels[len(OURS)] == "† Published, not run here: checkpoints of family C, a table"


def cell(page: webdriver.Chrome, block: int, expert: int) -> WebElement:
    return first(page, f"table.heat tbody tr:nth-child({block + 1}) td:nth-child({expert + 2})")


def tooltip(page: webdriver.Chrome) -> list[str]:
    return [p.text for p in page.find_elements(By.CSS_SELECTOR, "#tooltip p") if p.is_displayed()]


def told(task: int, block: int, expert: int) -> list[str]:
    """What the tooltip of a cell should say."""
    return [
        f"Block {block}, expert {EXPERTS[expert]}",
        f"images of {TASKS[task]}",
        f"mean weight {weight(task, block, expert):.3f}".replace("-", "−"),
        f"largest for {100 * share(task, block, expert):.1f} % of the images",
    ]


@pytest.mark.parametrize(("block", "expert"), [(0, 0), (2, 1), (1, 2)])
def test_a_cell_that_is_pointed_at_tells_what_it_is(
    block: int, expert: int, page: webdriver.Chrome
) -> None:
    assert tooltip(page) == []
    ActionChains(page).move_to_element(cell(page, block, expert)).perform()
    assert tooltip(page) == told(0, block, expert)
    ActionChains(page).move_to_element(first(page, "h1")).perform()
    assert tooltip(page) == []


def test_keys_go_from_cell_to_cell_and_each_tells_what_it_is(page: webdriver.Chrome) -> None:
    first(page, ".routing .scroll").send_keys(Keys.TAB)
    assert tooltip(page) == told(0, 0, 0)
    for key, block, expert in (
        (Keys.ARROW_DOWN, 1, 0), (Keys.ARROW_RIGHT, 1, 1), (Keys.END, 1, 2),
        (Keys.ARROW_RIGHT, 1, 2), (Keys.ARROW_LEFT, 1, 1), (Keys.HOME, 1, 0),
        (Keys.ARROW_UP, 0, 0), (Keys.ARROW_UP, 0, 0), (Keys.ARROW_LEFT, 0, 0),
    ):  # fmt: skip
        page.switch_to.active_element.send_keys(key)
        assert page.switch_to.active_element == cell(page, block, expert)
        assert tooltip(page) == told(0, block, expert)
        assert page.switch_to.active_element.get_attribute("aria-describedby") == "tooltip"
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert tooltip(page) == []
    stops = page.find_elements(By.CSS_SELECTOR, 'table.heat [tabindex="0"]')
    assert stops == [cell(page, 0, 0)]


def test_another_task_draws_the_map_anew(page: webdriver.Chrome) -> None:
    def own() -> str:
        return first(page, "table.heat thead th.own").text.splitlines()[0]

    assert (own(), cell(page, 1, 2).text) == ("cars", f"{weight(0, 1, 2):.2f}".replace("-", "−"))
    Select(first(page, ".routing select")).select_by_visible_text("mnist")
    assert (own(), cell(page, 1, 2).text) == ("mnist", f"{weight(1, 1, 2):.2f}".replace("-", "−"))
    assert first(page, "table.heat caption").text == "Images of mnist: mean routing weight"
    ActionChains(page).move_to_element(cell(page, 1, 2)).perform()
    assert tooltip(page) == told(1, 1, 2)
    assert len(page.find_elements(By.CSS_SELECTOR, "table.heat td.own")) == BLOCKS


def test_another_quantity_draws_the_map_anew(page: webdriver.Chrome) -> None:
    ends = [first(page, f".key .{end}").text for end in ("least", "most")]
    limit = max(abs(weight(*p)) for p in product(range(2), range(BLOCKS), range(len(EXPERTS))))
    assert ends == [f"−{limit:.2f}", f"{limit:.2f}"]
    first(page, '.routing input[value="largest_share"]').click()
    texts = [td.text for td in page.find_elements(By.CSS_SELECTOR, "table.heat td")]
    places = product(range(BLOCKS), range(len(EXPERTS)))
    assert texts == [f"{100 * share(0, *place):.0f}" for place in places]
    assert [first(page, f".key .{end}").text for end in ("least", "most")] == ["0 %", "100 %"]


def test_weights_above_0_are_orange_and_those_below_purple(page: webdriver.Chrome) -> None:
    for block, expert in product(range(BLOCKS), range(len(EXPERTS))):
        red, _, blue = channels(cell(page, block, expert).value_of_css_property("background-color"))
        assert (red > blue) == (weight(0, block, expert) > 0)


def channels(colour: str) -> list[float]:
    return [float(number) for number in re.findall(r"[\d.]+", colour)[:3]]


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        shares = (channel / 255 for channel in channels(colour))
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_text_can_be_read(scheme: str, page: webdriver.Chrome) -> None:
    look(page, 1280, scheme)
    page.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    for quantity in ("largest_share", "mean_weight"):
        first(page, f'.routing input[value="{quantity}"]').click()
        ActionChains(page).move_to_element(cell(page, 0, 0)).perform()
        colours = page.execute_script(COLOURS)
        assert {"Block 0, expert cars", "a1" * 32, "Copy"} <= {text for text, _, _ in colours}
        faint = [(text, pair) for text, *pair in colours if contrast(*pair) < 4.5]
        assert faint == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways(width: int, scheme: str, page: webdriver.Chrome) -> None:
    look(page, width, scheme)
    page.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    cell(page, 0, len(EXPERTS) - 1).click()
    assert tooltip(page) == told(0, 0, len(EXPERTS) - 1)
    root = "return document.documentElement."
    assert page.execute_script(f"{root}clientWidth") <= width
    assert page.execute_script(f"{root}scrollWidth") <= width
    widths = "return [...document.querySelectorAll('.scroll')].map((frame) => frame.scrollWidth)"
    assert max(page.execute_script(widths)) > width  # else nothing here was too wide
    ends = page.execute_script("return document.getElementById('tooltip').getBoundingClientRect()")
    assert ends["left"] >= 0
    assert ends["right"] <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_that_is_wider_than_the_window_says_so(width: int, page: webdriver.Chrome) -> None:
    look(page, width, "light")
    frame = page.find_elements(By.CSS_SELECTOR, "main .scroll")[-1]
    hint = page.execute_script("return arguments[0].previousElementSibling", frame)
    assert hint.text == "Scroll sideways for more columns →"
    assert "more" in classes_of(frame)
    page.execute_script("arguments[0].scrollLeft = 1e6", frame)
    WebDriverWait(page, 5).until(lambda _: "more" not in classes_of(frame))
    narrow = first(page, ".scroll table.accuracy")
    is_wide = narrow.size["width"] > width
    assert page.find_elements(By.CSS_SELECTOR, ".hint")[0].is_displayed() is is_wide


def test_a_picture_opens_large_and_closes_again(page: webdriver.Chrome) -> None:
    look(page, 390, "light")
    picture = first(page, ".enlarge img")
    picture.click()
    large = first(page, "#large img")
    assert large.get_attribute("src") == picture.get_attribute("src")
    assert large.size["width"] == 960 > 2 * picture.size["width"]
    large.click()
    assert not large.is_displayed()


def test_the_command_is_copied(page: webdriver.Chrome) -> None:
    permissions = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    page.execute_cdp_cmd("Browser.grantPermissions", permissions)
    first(page, ".copy").click()
    read = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](`${error}`))"
    assert page.execute_async_script(read) == first(page, ".command code").text
    assert first(page, ".copy").text == "Copied"


def test_where_nothing_can_be_copied_the_command_is_selected(page: webdriver.Chrome) -> None:
    page.execute_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    first(page, ".copy").click()
    assert first(page, ".copy").text == "Selected"
    selected = page.execute_script("return getSelection().toString()")
    assert selected == first(page, ".command code").text


def test_no_script_runs_but_the_page_s_own(browser: webdriver.Chrome, page_file: Path) -> None:
    browser.get(page_file.as_uri())
    browser.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = 'window.intruded = true';"
        "document.body.append(script);"
        "document.body.insertAdjacentHTML('beforeend', '<p onclick=\"window.intruded = true\">x');"
        "document.body.lastElementChild.click()"
    )
    assert browser.execute_script("return window.intruded") is None
    assert len([text for text in complaints(browser) if "Content Security Policy" in text]) == 2

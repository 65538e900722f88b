"""What the README and the documents tell a newcomer to type works."""

import re
import shlex
import sys
import warnings
from pathlib import Path
from shutil import copy, copytree
from typing import Any

import pytest
from PIL import Image

from wemoe_pl.callbacks.sample_images import spread_evenly, write_samples
from wemoe_pl.cli.help import parser_of
from wemoe_pl.cli.main import main, names_a_run
from wemoe_pl.cli.verb_parsers import predict_parser
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.system.configs import find_config
from wemoe_pl.system.own_packages import VARIABLE
from wemoe_pl.system.warn import WeMoEWarning

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "real_images"
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
DEMO_CONFIG = (ROOT / "configs" / "adapt_miniature.yaml").read_text()
README = DOCUMENTS[0].read_text()
TEXTS = "\n".join(path.read_text() for path in DOCUMENTS)


DEMO_IMAGES = re.findall(r"runs/demo/images/[\w.-]+\.png", TEXTS)


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(program: str) -> list[str]:
    text = "\n".join(blocks("console", TEXTS)).replace("\\\n", " ")
    lines = re.sub(r"^torchrun .* -m wemoe_pl ", "wemoe-pl ", text, flags=re.MULTILINE).splitlines()
    found = (line.partition("#")[0].strip() for line in lines if re.match(rf"\S*{program} ", line))
    return list(dict.fromkeys(found))


def test_the_readme_gives_the_two_commands_first() -> None:
    assert [line.split()[1] for line in blocks("console")[0].splitlines()] == ["demo", "test"]


@pytest.mark.parametrize("command", commands("make"))
def test_every_make_target_exists(command: str) -> None:
    target = shlex.split(command)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", commands("wemoe-pl"))
def test_every_command_is_understood(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = ROOT / "configs"
    for run in ("wemoe", "adapted", "demo"):
        config = tmp_path / "runs" / run / "config.yaml"
        config.parent.mkdir(parents=True)
        config.write_text(DEMO_CONFIG.replace("suites/", f"{shipped}/suites/"))
    for name in ("adapt.yaml", "finetune.yaml", "suite.yaml"):
        (tmp_path / name).write_text((EXAMPLE / name).read_text())
    copytree(ROOT / "examples" / "own_method", tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv(VARIABLE, "")
    [mine] = [block for block in blocks("yaml", TEXTS) if block.startswith("name: mine")]
    (tmp_path / "mine.yaml").write_text(mine)
    # As a command before does that is none of ours.
    copy(shipped / "suites" / "miniature20.yaml", tmp_path / "unseen20.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["wemoe-pl"])
    verb, *arguments = shlex.split(command)[1:]
    if verb in ("advise", "bench", "completion", "export", "report", "serve", "workspace"):
        assert vars(parser_of(verb).parse_args(arguments))
        return
    if names_a_run([verb, *arguments]):
        assert vars(predict_parser().parse_args(arguments))
        return
    if verb == "sweep":
        assert main([verb, *arguments, "--dry-run"]) == 0
        return
    with pytest.raises(SystemExit) as finished:
        main([verb, *arguments, "--print_config"])
    assert finished.value.code == 0


def test_the_images_that_are_named_are_those_that_the_demo_leaves(tmp_path: Path) -> None:
    [count] = re.findall(r"^sample_images: \{count: (\d+)\}$", DEMO_CONFIG, re.MULTILINE)
    sets = MultiTaskData(read_suite(find_config("suites/miniature"))).sets
    folder = RunFolder(tmp_path / "runs" / "demo")
    write_samples(folder, spread_evenly(sets, int(count)))
    assert len(list(folder.images.glob("*.png"))) == 20
    assert DEMO_IMAGES
    for name in DEMO_IMAGES:
        assert (tmp_path / name).is_file()


def test_the_models_of_the_readme_are_merged_without_a_warning() -> None:
    [snippet] = [snippet for snippet in blocks("python") if "upscale(" in snippet]
    with warnings.catch_warnings():
        warnings.simplefilter("error", WeMoEWarning)
        exec(snippet, {})


def test_the_snippets_run(
    tiny_suite_yaml: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["wemoe-pl"])
    demo = ["fit", "--config", "adapt_miniature.yaml", "--out", "runs/demo"]
    tiny = ["--suite", str(tiny_suite_yaml), "--trainer.max_steps", "1"]
    assert main([*demo, *tiny, "--trainer.val_check_interval", "1"]) == 0
    for name in ("bundle", "timm"):
        assert main(["export", "runs/demo", "--format", name]) == 0
    for name in ("photo.png", *DEMO_IMAGES):
        Image.effect_noise((64, 48), 60).save(name)
    Path("miniature").write_text(tiny_suite_yaml.read_text())  # the same name, with fewer images
    for text in map(Path.read_text, DOCUMENTS):
        names: dict[str, Any] = {}  # the snippets of a document follow one another
        for snippet in blocks("python", text):
            exec(snippet, names)

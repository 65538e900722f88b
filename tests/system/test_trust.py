"""No config imports or calls what its user has not allowed: the module here would leave a trace."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from helpers.written_checkpoints import write_checkpoint
from jsonargparse import ArgumentParser
from jsonargparse._common import parsing_settings
from lightning import Callback

from wemoe_pl import load
from wemoe_pl.cli.job import build_job, run_job
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.model.recipe import describe, read_suite, rebuild
from wemoe_pl.system.own_packages import VARIABLE
from wemoe_pl.system.trust import only_allowed

EVIL = """
from pathlib import Path
Path(__file__).with_name("it_ran").touch()
from helpers.written_checkpoints import write_checkpoint
from lightning.pytorch.callbacks import Callback
class Evil(Callback): pass
def evil(*args, **kwargs): Path(__file__).with_name("it_was_called").touch()
"""
LAMBDA = "lightning.pytorch.callbacks.LambdaCallback"
SUITE = {"name": "x", "backbone": {"model": "vit_tiny_patch16_224"}, "pretrained": "x", "tasks": {}}
Refused = Callable[..., str]

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")


def part(path: str, **options: object) -> dict[str, object]:
    return {"class_path": path, "init_args": options}


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path of modules, with one that leaves `it_ran` there when it is imported."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "evil_module.py").write_text(EVIL)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv(VARIABLE, "")
    yield folder
    sys.modules.pop("evil_module", None)


@pytest.fixture
def refused(trace: Path, tmp_path: Path, tiny_suite_yaml: Path) -> Refused:
    """`refused(config, *args)`: the sentence for it; nothing has run."""

    def refuse(config: object, *args: str, verb: bool = False) -> str:
        path = tmp_path / "stranger.yaml"
        path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        command = [] if verb else ["fit"]
        configs = ["--config", "adapt_miniature", "--config", str(path)]
        suite = [] if isinstance(config, dict) and "suite" in config else ["--suite"]
        suite += [str(tiny_suite_yaml)] if suite else []
        given = [*command, *configs, *suite, *args, "--out", str(tmp_path / "run")]
        with pytest.raises(ConfigError) as error:
            (build_job if verb else run_job)(given)
        assert [file.name for file in trace.glob("it_*")] == []
        return str(error.value)

    return refuse


@pytest.mark.parametrize("verb", [False, True], ids=["fit", "prepare"])
@pytest.mark.parametrize(
    ("key", "config"),
    [
        ("trainer.logger", {"trainer": {"logger": "evil_module.Evil"}}),
        ("trainer.logger", {"trainer": {"logger": [part("evil_module.Evil")]}}),
        ("trainer.callbacks", {"trainer": {"callbacks": [part("evil_module.Evil")]}}),
        ("trainer.callbacks", {"trainer": {"callbacks+": "evil_module.Evil"}}),
        ("trainer.plugins", {"trainer": {"plugins": [part("evil_module.Evil")]}}),
        ("trainer.strategy", {"trainer": {"strategy": part("evil_module.Evil")}}),
        ("trainer.accelerator", {"trainer": {"accelerator": part("evil_module.Evil")}}),
        ("trainer.profiler", {"trainer": {"profiler": part("evil_module.Evil")}}),
        ("model", {"model": "evil_module.Evil"}),
        ("model: merge", {"model": {"init_args": {"merge": "evil_module.Evil"}}}),
        ("model: objective", {"model": {"init_args": {"objective": "evil_module.Evil"}}}),
        ("data", {"data": part("evil_module.Evil")}),
        ("suite.tasks", {"suite": SUITE | {"tasks": {"a": part("evil_module.Evil")}}}),
        ("suite.text_tower", {"suite": SUITE | {"text_tower": part("evil_module.Evil")}}),
        (
            "on_fit_start",
            {"trainer": {"callbacks": [part(LAMBDA, on_fit_start="evil_module.evil")]}},
        ),
        (
            "on_fit_start",
            {
                "trainer": {
                    "callbacks": [
                        {"class_path": LAMBDA, "dict_kwargs": {"on_fit_start": "evil_module.evil"}}
                    ]
                }
            },
        ),
    ],
)
def test_a_config_cannot_import_a_module(
    key: str, config: object, verb: bool, refused: Refused
) -> None:
    sentence = refused(config, verb=verb)
    assert "stranger.yaml: " in sentence
    assert f"{key}: A config may not name 'evil_module." in sentence
    assert "it is not from wemoe_pl, lightning, torch, torchmetrics, timm, wandb." in sentence
    assert sentence.endswith("allow it on the command line with --allow evil_module.")


@pytest.mark.parametrize(
    "config",
    [
        {"suite": part("evil_module.Evil")},
        {"suite": SUITE | {"backbone": part("evil_module.Evil")}},
        {"trainer": {"strategy": part("lightning.pytorch.strategies.FSDPStrategy",
                                      auto_wrap_policy="evil_module.evil")}},
        {"trainer": {"strategy": part("lightning.pytorch.strategies.FSDPStrategy",
                                      auto_wrap_policy=["evil_module.Evil"])}},
        {"trainer": {"strategy": part("lightning.pytorch.strategies.DDPStrategy",
                                      ddp_comm_hook="evil_module.evil")}},
        {"suite": SUITE | {"backbone": {"model": "vit_tiny_patch16_224",
                                        "options": {"norm": part("evil_module.Evil")}}}},
    ],
    ids=["suite", "backbone", "function", "type", "hook", "anything"],
)  # fmt: skip
def test_nor_where_any_value_or_function_is_expected(config: object, refused: Refused) -> None:
    assert "A config may not name 'evil_module." in refused(config)


def test_a_shipped_suite_is_known_by_its_name(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("suite: miniature\n")
    job = build_job(["--config", "adapt_miniature", "--config", str(config), "--tasks", "[dtd]"])
    assert job.model.suite.name == "miniature"


def test_a_name_for_a_suite_is_that_of_a_file(refused: Refused) -> None:
    assert "suite: there is no file evil_module.Evil" in refused({"suite": "evil_module.Evil"})


@pytest.mark.parametrize("key", ["accelerator", "strategy", "profiler", "precision"])
def test_nor_by_a_name_that_lightning_looks_up(key: str, refused: Refused) -> None:
    assert key in refused({"trainer": {key: "evil_module.Evil"}})


@pytest.mark.parametrize(
    "named",
    [
        "torch.hub.load",
        "torch.load",
        "torch.utils.cpp_extension.load",
        "wemoe_pl.cli.main.main",
        part("wemoe_pl.cli.main.main", args=["fit", "--allow", "evil_module"]),
        part("timm.create_model", model_name="hf-hub:a/b", pretrained=True),
        part("torch.nn.Linear", in_features=1, out_features=1),
        part("wemoe_pl.Entropy"),
        "torch.ops.prims.convert_element_type",
        "torch.ops.aten.from_file",
    ],
    ids=str,
)
def test_a_config_cannot_have_a_function_called(named: object, refused: Refused) -> None:
    callback = part(LAMBDA, on_fit_start=named)
    sentence = refused({"trainer": {"callbacks": [callback]}})
    assert re_search(sentence, "on_fit_start: A config may not call '", "': it may name")


def test_a_part_of_a_sum_of_objectives_is_one_of_ours(refused: Refused) -> None:
    parts = [part("wemoe_pl.Entropy"), part("torch.nn.Linear", in_features=1, out_features=1)]
    total, merge = part("wemoe_pl.WeightedSum", objectives=parts), part("wemoe_pl.WEMoE")
    adapted = part("wemoe_pl.TestTimeAdaptation", merge=merge, objective=total)
    assert "torch.nn.Linear" in refused({"model": adapted})


def re_search(text: str, *parts: str) -> bool:
    """Do these parts come in this order?"""
    places = [text.find(each) for each in parts]
    return -1 not in places and places == sorted(places)


@pytest.mark.parametrize(
    "path", ["torch.os.system", "lightning.pytorch.trainer.trainer.os.system", "builtins.exec"]
)
def test_what_an_allowed_module_has_imported_is_not_allowed_with_it(
    path: str, refused: Refused
) -> None:
    sentence = refused({"trainer": {"callbacks": [part(LAMBDA, on_fit_start=path)]}})
    assert "A config may not name" in sentence or "There is no class" in sentence


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"trainer": {"logger": "wemoe_pl.__main__.Logger"}}, "wemoe_pl.__main__.Logger"),
        ({"trainer": {"plugins": [part("timm.__main__.sub.Plugin")]}}, "timm.__main__.sub.Plugin"),
        (
            {"suite": SUITE | {"tasks": {"a": part("torch.utils.model_dump.__main__.A")}}},
            "torch.utils.model_dump.__main__.A",
        ),
        (
            {"trainer": {"callbacks": [part(LAMBDA, on_fit_start="wandb.__main__.cli")]}},
            "wandb.__main__.cli",
        ),
    ],
)
def test_a_config_cannot_run_a_program(
    config: object, path: str, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(sys.modules)
    assert f"A config may not name '{path}': it is a program, which would run" in refused(config)
    assert not [name for name in set(sys.modules) - before if "__main__" in name]


def test_nor_can_a_checkpoint(refused: Refused, tmp_path: Path) -> None:
    settings = {"_class_path": "wemoe_pl.__main__.Model"}
    path = write_checkpoint(tmp_path / "stranger.ckpt", hyper_parameters=settings)
    sentence = refused({}, "--ckpt_path", str(path))
    assert "A config may not name 'wemoe_pl.__main__.Model'" in sentence


def test_a_function_does_not_stand_for_a_model(refused: Refused) -> None:
    path = "lightning.pytorch.LightningModule.load_from_checkpoint"
    sentence = refused({"model": part(path, checkpoint_path="x", weights_only=False)})
    assert f"{path} is not derived from LightningModule: name a class" in sentence


def test_the_user_is_held_to_the_same_list(refused: Refused) -> None:
    sentence = refused({}, "--trainer.logger", "evil_module.Evil")
    assert sentence.endswith("allow it on the command line with --allow evil_module.")


@pytest.mark.parametrize("key", ["allow", "--allow"])
def test_no_config_can_allow(key: str, refused: Refused) -> None:
    assert "allow" in refused({key: "evil_module", "trainer": {"logger": "evil_module.Evil"}})


def test_the_user_can_allow_a_package(trace: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"trainer": {"callbacks": "evil_module.Evil"}}))
    args = ["--config", "adapt_miniature", "--config", str(config), "--out", str(tmp_path / "run")]
    job = build_job([*args, "--allow", "json", "--allow=evil_module"])
    assert "Evil" in str(job.settings.trainer.callbacks)
    assert (trace / "it_ran").is_file()
    with pytest.raises(ConfigError, match="A config may not name"):
        build_job(args)  # it was for once


@pytest.mark.parametrize("package", ["jsonargparse", "two words", "../evil", "*", ""])
def test_what_cannot_be_allowed_is_refused(package: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--allow .*: give the name of a package"):
        run_job(["fit", "--config", "adapt_miniature", "--allow", package])


def test_allowing_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^--allow is given without the name of a package"):
        run_job(["fit", "--config", "adapt_miniature", "--allow"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("trainer: http://127.0.0.1:9/trainer.yaml", "trainer: there is no file http:"),
        ("suite: s3://bucket/suite.yaml", "suite: there is no file s3:"),
        ("trainer: /etc/hostname", "It is not a config"),
        ("config: /etc/hostname", "It is not a config"),
        ("seed_everything: !!python/name:os.system", "The YAML has the tag '!!python/name:os.sys"),
        ("out: a\nout: b", "The YAML has the key 'out' twice in line 2"),
    ],
)
def test_a_config_reads_only_files_of_plain_yaml(
    text: str, sentence: str, refused: Refused
) -> None:
    assert sentence in refused(text, verb=True)


def test_a_config_cannot_have_a_checkpoint_run(refused: Refused) -> None:
    sentence = refused({"weights_only": False})
    assert sentence.startswith("weights_only is false, which would run whatever a checkpoint")


@pytest.mark.parametrize(
    "settings",
    [
        {"_class_path": "evil_module.Evil", "_instantiator": "evil_module.evil"},
        {"_class_path": "wemoe_pl.training.adapt.TestTimeAdaptation", "merge": "evil_module.Evil"},
    ],
)
def test_what_a_checkpoint_says_of_its_model_is_held_to_the_same_list(
    settings: object, refused: Refused, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "stranger.ckpt", hyper_parameters=settings)
    sentence = refused({}, "--ckpt_path", str(path))
    assert "A config may not name 'evil_module.Evil'" in sentence


def test_a_recipe_in_a_checkpoint_is_held_to_the_same_list(tiny_suite: Suite, trace: Path) -> None:
    merge = part("wemoe_pl.merging.TaskArithmetic")
    for suite, method in [
        (describe(tiny_suite), "evil_module.Evil"),
        (describe(tiny_suite) | {"tasks": {"a": part("evil_module.Evil")}}, merge),
    ]:
        with pytest.raises(ConfigError, match=r"^A config may not name 'evil_module.Evil'"):
            rebuild({"suite": suite, "merge": method})
    assert not (trace / "it_ran").exists()


def test_the_folder_of_a_run_is_held_to_the_same_list(tmp_path: Path, trace: Path) -> None:
    model = part("wemoe_pl.TestTimeAdaptation", merge="evil_module.Evil")
    settings = {"suite": SUITE, "model": model, "trainer": {}, "out": str(tmp_path)}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError, match=r"^A config may not name 'evil_module.Evil'"):
        load(tmp_path)
    assert not (trace / "it_ran").exists()
    with pytest.raises(ConfigError, match="not a recipe"):  # imported, and no method
        load(tmp_path, allow=["evil_module"])


def test_a_suite_is_held_to_the_same_list(tmp_path: Path, trace: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(SUITE | {"tasks": {"a": "evil_module.Evil"}}))
    with pytest.raises(ConfigError, match=r"suite.yaml is not a suite: (.|\n)*evil_module.Evil"):
        read_suite(str(path))
    assert not (trace / "it_ran").exists()


def test_parsers_of_other_programs_are_left_as_they_were(trace: Path) -> None:
    before = dict(parsing_settings)
    with only_allowed():
        pass
    assert parsing_settings == before
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--logger", type=Callback)
    parsed = parser.parse_args(["--logger", "evil_module.Evil"])
    assert parsed.logger.class_path == "evil_module.Evil"


@pytest.mark.slow
def test_a_sweep_hands_on_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    options = ["--config", "adapt_miniature", "--grid", "seed_everything=0", "--allow", "mine"]
    command = [sys.executable, "-m", "wemoe_pl", "sweep", *options, "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--allow mine" in done.stdout

"""Native code by torch: what it gives, what it needs, and that nothing here opens it unasked."""

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from helpers.card_snippets import snippet_of
from PIL import Image

from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.export.card import CARD_FILE
from wemoe_pl.export.compiled import (
    COMPILED_FILE,
    check_compiler,
    compiled_as_stated,
    open_compiled,
    write_compiled,
)
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import load, open_model
from wemoe_pl.export.manifest import MANIFEST, read_manifest
from wemoe_pl.export.programs import CLASSES_FILE, OUTPUTS_FILE
from wemoe_pl.export.writing import export
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE

MakeModel = Callable[[MergeMethod], ExportedModel]


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files while the package was written."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def compiled(
    make_model: MakeModel, tmp_path_factory: pytest.TempPathFactory, temporary: Path
) -> Path:
    """An export of a WEMoE, written in an empty working folder; no test changes it."""
    out = tmp_path_factory.mktemp("compiled") / "package"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("working"))
        patch.setattr("tempfile.tempdir", str(temporary))
        patch.setenv("TMPDIR", str(temporary))
        export(make_model(WEMoE()), "aoti", out, lambda line: None)
        assert not list(Path.cwd().iterdir())
    return out


@pytest.mark.slow
def test_it_answers_for_every_task_in_batches_of_any_size(
    compiled: Path, make_model: MakeModel
) -> None:
    run, classifier = open_compiled(compiled), make_model(WEMoE()).classifier
    for size in (1, 2, 5):
        images = torch.randn(size, 3, 32, 32, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            logits = [classifier(images, task) for task in ("cars", "mnist")]
            features = classifier.encode(images)
        routing = torch.stack([*classifier.routing(images).values()], dim=-1)
        found = [*run(images)]
        torch.testing.assert_close(found, [features, *logits, routing], rtol=0, atol=1e-5)
    outputs = json.loads((compiled / OUTPUTS_FILE).read_text())["outputs"]
    assert outputs == ["features", "cars", "mnist", "routing_weights"]


@pytest.mark.slow
def test_it_says_what_it_was_compiled_for(compiled: Path) -> None:
    about = read_manifest(compiled / MANIFEST).compiled
    assert about is not None
    assert about == compiled_as_stated(compiled)
    assert about["torch"] == torch.__version__
    assert (about["device"], about["cuda_capability"]) == ("cpu", "")
    assert (about["platform"], about["machine"]) == (sys.platform, platform.machine())
    text = (compiled / CARD_FILE).read_text()
    needed = f"{about['platform']}, {about['machine']} with {about['instructions']}"
    assert f"# Native code for torch {about['torch']} on {needed}." in text


@pytest.mark.slow
def test_nothing_is_left_but_the_export(compiled: Path, temporary: Path) -> None:
    names = {path.name for path in compiled.iterdir()}
    assert names == {COMPILED_FILE, CLASSES_FILE, OUTPUTS_FILE, MANIFEST, CARD_FILE}
    left = [path for path in temporary.rglob("*") if path.is_file()]
    assert not [path for path in left if path.suffix in (".cpp", ".so", ".o", ".h", ".gch")]
    with ZipFile(compiled / COMPILED_FILE) as package:
        assert not any(name.endswith(".cpp") for name in package.namelist())


@pytest.mark.slow
def test_it_is_loaded_as_its_readme_says(
    compiled: Path, make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "path/to").mkdir(parents=True)
    (tmp_path / "path/to" / compiled.name).symlink_to(compiled)
    monkeypatch.chdir(tmp_path)
    Image.effect_noise((64, 49), 60).save("photo.png")
    names: dict[str, Any] = {}
    exec(snippet_of(compiled / CARD_FILE), names)
    assert names["routing_weights"].shape == (1, 2, 2)
    with torch.no_grad():
        features = make_model(WEMoE()).classifier.encode(torch.from_numpy(names["images"]))
    torch.testing.assert_close(names["features"], features, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_it_is_never_opened_by_what_reads_models(compiled: Path, tmp_path: Path) -> None:
    for source in (compiled, compiled / COMPILED_FILE):
        for opens in (load, open_model):
            with pytest.raises(CheckpointError, match=r"holds a program of torch as native code"):
                opens(source)


def test_a_program_alone_is_not_opened_either(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"model\.pt2 holds a program .* runs no code of fil"):
        load(tmp_path / "model.pt2")


def test_a_missing_compiler_is_one_sentence_before_any_work(
    make_model: MakeModel, exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    check_compiler()
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler, and there is no (g|clang)\+\+"):
        export(make_model(TaskArithmetic()), "aoti", exports, said.append)
    monkeypatch.setenv("CXX", "/nowhere/my-g++ -O1")
    with pytest.raises(ConfigError, match=r"there is no /nowhere/my-g\+\+: install g\+\+, name"):
        check_compiler()
    assert not said
    assert not exports.exists()


@pytest.mark.slow
def test_a_compiler_that_fails_is_one_sentence(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "broken-g++"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *-version*) exec g++ "$@";; esac\n'
        "echo 'fatal error: no space left' >&2\nexit 1\n"
    )
    compiler.chmod(0o755)
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, str(compiler)))
    folder = tmp_path / "export"
    folder.mkdir()
    complaint = r"^The C\+\+ compiler failed on the code .*no space left.*: try another compiler"
    with pytest.raises(ConfigError, match=complaint) as caught:
        write_compiled(make_model(TaskArithmetic()), folder)
    assert os.linesep not in str(caught.value)


def test_other_exports_were_compiled_for_nothing(make_model: MakeModel, exports: Path) -> None:
    export(make_model(TaskArithmetic()), "bundle", exports, lambda line: None)
    assert compiled_as_stated(exports) is None
    assert "compiled" not in json.loads((exports / MANIFEST).read_text())

"""The public names: imported when first used, seen by type checkers, and nothing beside them."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mypy import api

import wemoe_pl

STUB = Path(wemoe_pl.__file__).with_suffix(".pyi")
ROOT = STUB.parents[1]

PASSES = """
from torch import Tensor, nn

import wemoe_pl
from wemoe_pl import WEMoE, load, upscale

version: str = wemoe_pl.__version__
merge: wemoe_pl.MergeMethod = WEMoE(init_lambda=0.3, router_depth=2)

def logits(images: Tensor) -> Tensor:
    return load("runs/demo")(images, "mnist")

def merged(pretrained: nn.Module, experts: dict[str, nn.Module]) -> nn.Module:
    return upscale(pretrained, experts)
"""
REFUSED = {
    "from wemoe_pl import lode\n": 'has no attribute "lode"',
    "import wemoe_pl\nwemoe_pl.WEMOE\n": 'has no attribute "WEMOE"',
    "from wemoe_pl import load\nload(3)\n": "incompatible type",
    "from wemoe_pl import load\nload('runs/demo', nonsense=True)\n": "Unexpected keyword argument",
    "from wemoe_pl import load\nload('runs/demo').encode(3)\n": "incompatible type",
}


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited["version"] == wemoe_pl.__version__


@pytest.mark.slow
def test_a_type_checker_sees_the_public_names_and_only_those(tmp_path: Path) -> None:
    """One run of mypy over all files, which takes its time, by the settings of the project."""
    (tmp_path / "passes.py").write_text(PASSES)
    for number, text in enumerate(REFUSED):
        (tmp_path / f"case_{number}.py").write_text(text)
    known = ROOT / ".mypy_cache"  # of `make lint`; it is copied, so that no case gets into it
    if known.is_dir():
        shutil.copytree(known, tmp_path / "cache")
    options = [f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={tmp_path / 'cache'}"]
    said, _, status = api.run([*options, *map(str, sorted(tmp_path.glob("*.py")))])
    errors = [line for line in said.splitlines() if "error:" in line]
    assert status == 1
    assert not [line for line in errors if "passes.py" in line]
    for number, sentence in enumerate(REFUSED.values()):
        about = [line for line in errors if f"case_{number}.py" in line]
        assert len(about) == 1
        assert sentence in about[0]


def test_dir_shows_what_is_public_and_nothing_else() -> None:
    assert dir(wemoe_pl) == sorted(wemoe_pl.__all__)
    assert {"load", "upscale", "WEMoE", "load_encoder"} <= set(dir(wemoe_pl))
    assert not {"attach_stub", "import_module", "Any"} & set(dir(wemoe_pl))


def test_every_public_name_is_found_where_the_stub_says() -> None:
    names = [
        alias.name
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(names) == wemoe_pl.__all__
    for name in names:
        assert getattr(wemoe_pl, name).__name__ == name


def test_a_misspelt_name_is_no_attribute() -> None:
    with pytest.raises(ImportError, match="lode"):
        exec("from wemoe_pl import lode")


def test_torch_is_imported_by_the_first_name_that_needs_it() -> None:
    program = (
        "import sys, wemoe_pl; assert 'torch' not in sys.modules; wemoe_pl.Router; "
        "assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

"""`examples/own_method` as its README says it, and the page that explains it."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from wemoe_pl import load
from wemoe_pl.cli.main import main
from wemoe_pl.data.miniature import CLASSES
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.own_packages import VARIABLE, import_allowed
from wemoe_pl.system.provenance import code_hash
from wemoe_pl.training.objectives.outputs import AdaptationOutputs

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_method"
PAGE = (ROOT / "docs" / "extending.md").read_text().partition("## An objective")[0]
BRIEF = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--data.batch_size", "2"]
Arguments = Callable[..., list[str]]

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that one stands in: a copy of the example."""
    copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "argv", ["wemoe-pl"])
    forget_packages()  # other tests may have imported them from elsewhere
    yield tmp_path
    forget_packages()


def forget_packages() -> None:
    """As in a process that has not imported them."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("own_method", "my_package"):
            del sys.modules[name]


def results(folder: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((Path(folder) / "results.json").read_text())
    return found


def test_the_method_is_scored_loaded_again_and_run_anew_when_it_has_changed(
    here: Path, tiny_suite_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ["--config", "median.yaml", "--suite", str(tiny_suite_yaml), "--allow", "own_method"]
    assert main(["test", *job, "--out", "run"]) == 0
    assert results("run")["method"] == "Median"
    assert load("run", allow=["own_method"])
    for form in ("adapter", "bundle"):
        export = ["export", "run", "--format", form, "--out", form, "--allow", "own_method"]
        assert main(export) == 0  # read back, too
    with pytest.raises(ConfigError, match=r"A config may not name 'own_method.median.Median'"):
        load("adapter")
    code = here / "own_method" / "median.py"
    code.write_text(code.read_text().replace("self.scaling *", "2 * self.scaling *"))
    code_hash.cache_clear()  # as in a process of its own
    assert main(["test", *job, "--out", "run"]) == 1
    assert "finished before the code of own_method was changed" in capsys.readouterr().err


def test_the_objective_is_adapted_by(here: Path, tiny_suite_yaml: Path) -> None:
    configs = ["--config", "adapt_miniature", "--config", "margin.yaml", "--allow", "own_method"]
    assert main(["fit", *configs, "--suite", str(tiny_suite_yaml), *BRIEF, "--out", "run"]) == 0
    assert "own_method.Margin" in (here / "run" / "config.yaml").read_text()


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_median_is_that_of_numpy(here: Path, count: int) -> None:
    import_allowed(["own_method"])
    generator = torch.Generator().manual_seed(count)
    models = [nn.Linear(5, 4).double() for _ in range(count + 1)]
    for model in models:
        for weight in model.parameters():
            weight.data = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    pretrained, *experts = models
    merged = sys.modules["own_method"].Median(0.5).merge(pretrained, dict(enumerate(experts)))
    for key, weight in pretrained.state_dict().items():
        vectors = [expert.state_dict()[key].numpy() - weight.numpy() for expert in experts]
        expected = weight.numpy() + 0.5 * count * np.median(vectors, axis=0)
        np.testing.assert_allclose(merged.state_dict()[key].numpy(), expected, rtol=1e-12)


def test_the_margin_is_that_of_two_classes(here: Path) -> None:
    import_allowed(["own_method"])
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04]], dtype=torch.float64).log()
    outputs = AdaptationOutputs("cars", logits, {})
    assert sys.modules["own_method"].Margin(0.6)(outputs).item() == pytest.approx(0.2)


def test_all_classes_of_the_page_work_in_one_job(
    here: Path, tiny_suite_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = here / "my_package"
    package.mkdir()
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (package / "__init__.py").write_text("\n".join(snippets))
    suite = yaml.safe_load(tiny_suite_yaml.read_text())
    task = next(iter(suite["tasks"]))
    [shapes] = [yaml.safe_load(text)["suite"]["tasks"]["shapes"] for text in of_yaml("ArrayTask")]
    shapes["init_args"]["names"] = list(CLASSES[task])
    suite["tasks"][task] = shapes
    Path("suite.yaml").write_text(yaml.safe_dump(suite))
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(6) % len(CLASSES[task])
    np.savez("shapes.npz", test_images=pixels, test_labels=labels)
    Path("page.yaml").write_text("".join(of_yaml("SharedScaling") + of_yaml("Printer")))
    configs = ["--config", "page.yaml"]
    job = ["--config", "adapt_miniature", *configs, "--suite", "suite.yaml"]
    assert main(["test", *job, "--allow", "my_package", "--out", "run"]) == 0, capsys.readouterr()
    assert results("run")["method"] == "SharedScaling"
    assert "my_package.Printer" in (here / "run" / "config.yaml").read_text()


def of_yaml(word: str) -> list[str]:
    """The YAML of the page that contains a word."""
    return [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if word in text]

"""A small model in a bundle, requests whose answers it knows, and a server of it."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.servers import Case, Served
from PIL import Image
from torch import nn

from wemoe_pl.data.suite import Suite
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.loading import load
from wemoe_pl.export.serving.answers import as_json
from wemoe_pl.export.writing import export
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.classifier import MultiTaskClassifier

LEAST = 0.6  # so that some images are of none of the tasks


def png(seed: int) -> bytes:
    """A file that no other seed gives, of colours that differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(256, size=(4, 5, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(coarse).resize((60, 48), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def bundle(tiny_suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WEMoE of three tasks, with routers that tell images apart, and thresholds."""
    merge = WEMoE()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapted = {
            name: nn.init.normal_(weight.detach(), mean=0.2, std=0.3)
            for name, weight in build_classifier(tiny_suite, merge).named_parameters()
            if weight.requires_grad
        }
    thresholds = {"entropy": dict.fromkeys(tiny_suite.tasks, LEAST)}
    model = ExportedModel.assemble(tiny_suite, merge, adapted, None, thresholds=thresholds)
    folder = tmp_path_factory.mktemp("serving") / "bundle"
    export(model, "bundle", folder, lambda line: None)
    return folder


@pytest.fixture(scope="session")
def model(bundle: Path) -> MultiTaskClassifier:
    """What the server loads; not to change."""
    return load(bundle)


@pytest.fixture(scope="session")
def cases(model: MultiTaskClassifier) -> list[Case]:
    """Requests of all tasks and of none, no two of which have the same answer."""
    found = []
    for seed in range(24):
        body = png(seed)
        task = [None, *model.tasks][seed % 4]
        image = Image.open(BytesIO(body))
        query: dict[str, Any] = {} if task is None else {"task": task}
        if seed % 8 == 4:
            query["reject"] = "false"
        [answer] = model.predict(image, task, reject="reject" not in query)
        found.append(Case(body, query, as_json(answer)))
    return found


@pytest.fixture(scope="session")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for tests that leave it running."""
    with Served(bundle, tmp_path_factory.mktemp("server") / "log") as served:
        yield served.ready()

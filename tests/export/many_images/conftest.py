"""A run of one step, loaded once, and units of a few images."""

from pathlib import Path

import pytest
from helpers.shards import noise, write_images, write_table, write_tar

from wemoe_pl.data.shards import plan
from wemoe_pl.data.suite import Suite
from wemoe_pl.export.exported import ExportedModel
from wemoe_pl.export.many_images.question import RecordedModel
from wemoe_pl.merging.wemoe import WEMoE


@pytest.fixture(scope="session")
def recorded(tiny_suite: Suite) -> RecordedModel:
    """A merged model that nothing was learned for, with random routers."""
    model = ExportedModel.assemble(tiny_suite, WEMoE(), {}, is_adapted=False)
    return RecordedModel(model.classifier, "runs/tiny", {"pretrained": {"source": "p"}})


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "UNIT_IMAGES", 4)


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    """Ten images: in a folder, in a tar and in a table."""
    write_images(tmp_path / "photos", 5)
    shard = write_tar(tmp_path / "s.tar", {f"{i}.png": noise(10 + i) for i in range(3)})
    table = write_table(tmp_path / "t.parquet", [noise(20 + i) for i in range(2)], 2)
    return [str(tmp_path / "photos"), str(shard), str(table)]

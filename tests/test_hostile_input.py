"""Damaged and hostile files of every kind: whatever they hold, all that comes out is one sentence.

A few dozen cases of each here; `make fuzz` runs the same tests on thousands. What runs, exports and
sweeps leave is damaged in `test_hostile_runs.py`.
"""

import io
import json
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from helpers.hostile import many, one_sentence
from helpers.hub_datasets import encode, write_dataset
from helpers.lora_adapters import CONFIG, WEIGHTS, train_by_peft
from helpers.mutations import altered, damaged
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wemoe_pl.checkpoints import Backbone, load_encoder
from wemoe_pl.checkpoints.heads import load_head
from wemoe_pl.cli.job import WeMoECLI, build_job
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ParquetTask, read_image
from wemoe_pl.data.tasks.decoding import IMAGE_FORMATS
from wemoe_pl.model.recipe import describe, rebuild
from wemoe_pl.system.configs import SHIPPED_CONFIGS
from wemoe_pl.system.plain_yaml import load_plain
from wemoe_pl.system.trust import check_parts, only_allowed

pytestmark = pytest.mark.filterwarnings("ignore")  # decoders warn of what is damaged


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def encoder_files(tiny_suite: Suite, folder: Path) -> list[bytes]:
    """An encoder as safetensors, and as torch.save writes it now and wrote it once."""
    state = dict(load_encoder(tiny_suite.pretrained, tiny_suite.backbone).state_dict())
    for name, new in (("new.pt", True), ("old.pt", False)):
        torch.save(state, folder / name, _use_new_zipfile_serialization=new)
    files = [Path(tiny_suite.pretrained), folder / "new.pt", folder / "old.pt"]
    return [path.read_bytes() for path in files]


@many(1)
@given(data=st.data())
def test_a_damaged_encoder(
    data: st.DataObject, encoder_files: list[bytes], tiny_suite: Suite, folder: Path
) -> None:
    path = folder / f"encoder{data.draw(st.sampled_from(('.safetensors', '.bin')))}"
    path.write_bytes(data.draw(damaged(encoder_files)))
    one_sentence(lambda: load_encoder(str(path), tiny_suite.backbone))


def with_header(header: Any, body: bytes) -> bytes:
    """A safetensors file."""
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + body


@many(1)
@given(data=st.data())
def test_an_altered_header_of_safetensors(
    data: st.DataObject, tiny_suite: Suite, folder: Path
) -> None:
    source = data.draw(st.sampled_from((tiny_suite.pretrained, tiny_suite.heads["mnist"])))
    content = Path(source).read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    path = folder / "altered.safetensors"
    path.write_bytes(with_header(data.draw(altered(header)), content[8 + length :]))
    one_sentence(lambda: load_encoder(str(path), tiny_suite.backbone))
    one_sentence(lambda: load_head(str(path)))


@many(1)
@given(data=st.data())
def test_a_damaged_head(data: st.DataObject, tiny_suite: Suite, folder: Path) -> None:
    path = folder / "head.safetensors"
    path.write_bytes(data.draw(damaged([Path(tiny_suite.heads["mnist"]).read_bytes()])))
    one_sentence(lambda: load_head(str(path)))


@many(0.5)
@given(data=st.data())
def test_an_altered_index_of_shards(data: st.DataObject, tiny_suite: Suite, folder: Path) -> None:
    index = {"metadata": {"total_size": 1}, "weight_map": {"a": "new.pt", "b": "old.pt"}}
    path = folder / "model.safetensors.index.json"
    text = json.dumps(data.draw(altered(index)))
    path.write_bytes(data.draw(damaged([text.encode()]) | st.just(text.encode())))
    one_sentence(lambda: load_encoder(str(path), tiny_suite.backbone))


@pytest.fixture(scope="module")
def adapter(tiny_suite: Suite, folder: Path) -> tuple[bytes, Any]:
    """The weights and the config of an adapter."""
    made = folder / "made"
    options: dict[str, Any] = {
        "rank_pattern": {"fc1": 3},
        "alpha_pattern": {"blocks.0.attn.qkv": 2},
        "bias": "all",
    }
    train_by_peft(tiny_suite.load_pretrained(), made, target_modules=["qkv", "fc1"], **options)
    return (made / WEIGHTS).read_bytes(), json.loads((made / CONFIG).read_text())


@many(2)
@given(data=st.data())
def test_a_damaged_adapter(
    data: st.DataObject, adapter: tuple[bytes, Any], tiny_suite: Suite, folder: Path
) -> None:
    weights, config = adapter
    length = struct.unpack("<Q", weights[:8])[0]
    header = json.loads(weights[8 : 8 + length])
    text = json.dumps(config).encode()
    hostile = folder / "adapter"
    hostile.mkdir(exist_ok=True)
    changed = data.draw(st.sampled_from(("weights", "header", "config", "settings")))
    match changed:
        case "weights":
            weights = data.draw(damaged([weights]))
        case "header":
            weights = with_header(data.draw(altered(header)), weights[8 + length :])
        case "config":
            text = data.draw(damaged([text]))
        case "settings":
            text = json.dumps(data.draw(altered(config))).encode()
    (hostile / WEIGHTS).write_bytes(weights)
    (hostile / CONFIG).write_bytes(text)
    base = tiny_suite.pretrained
    one_sentence(lambda: load_encoder(str(hostile), tiny_suite.backbone, base=base))
    one_sentence(lambda: load_head(str(hostile)))


def images() -> list[bytes]:
    """A small image in every format, in several modes."""
    noise = Image.effect_noise((24, 16), sigma=60)
    modes = {"PNG": ("RGB", "L", "P", "RGBA", "1"), "TIFF": ("RGB", "L"), "GIF": ("P",)}
    files = [
        encode(noise.convert(mode), form)
        for form in IMAGE_FORMATS
        for mode in modes.get(form, ("RGB",))
    ]
    animated = io.BytesIO()
    noise.save(animated, "GIF", save_all=True, append_images=[noise.rotate(90)])
    described = io.BytesIO()
    noise.save(described, "JPEG", exif=b"Exif\x00\x00II*\x00" + bytes(40), icc_profile=bytes(300))
    return [*files, animated.getvalue(), described.getvalue()]


IMAGES = images()


@many(3)
@given(content=damaged(IMAGES))
def test_a_damaged_image(content: bytes) -> None:
    one_sentence(lambda: read_image(content, "row 0"))


@pytest.fixture(scope="module")
def parquet_file(folder: Path) -> bytes:
    pictures = [Image.new("RGB", (8, 8), (grey, 0, 0)) for grey in (0, 90, 180)]
    write_dataset(folder / "pets", "data", "test", pictures, [0, 1, 0], ["cat", "dog"])
    [path] = (folder / "pets").rglob("*.parquet")
    return path.read_bytes()


@pytest.fixture(autouse=True)
def arrow_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def look_at_all(task: ParquetTask) -> None:
    """Read every image of a task."""
    found = task.images("test")
    for index in range(len(found)):
        found.name(index)
        found[index]


def put(content: bytes, folder: Path) -> Path:
    """A dataset of one file."""
    [*map(Path.unlink, folder.rglob("*.parquet"))]
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "test-00000-of-00001.parquet").write_bytes(content)
    return folder


@many(0.3)
@given(data=st.data())
def test_a_damaged_parquet_file(data: st.DataObject, parquet_file: bytes, folder: Path) -> None:
    dataset = put(data.draw(damaged([parquet_file])), folder / "damaged")
    one_sentence(lambda: look_at_all(ParquetTask(str(dataset))))


@many(0.2)
@given(data=st.data())
def test_a_parquet_file_with_an_altered_schema(
    data: st.DataObject, parquet_file: bytes, folder: Path
) -> None:
    table = pq.read_table(io.BytesIO(parquet_file))
    described = json.loads(table.schema.metadata[b"huggingface"])
    text = json.dumps(data.draw(altered(described))).encode()
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"huggingface": text}), file)
    dataset = put(file.getvalue(), folder / "altered")
    one_sentence(lambda: look_at_all(ParquetTask(str(dataset))))


CONFIGS = [
    path.read_bytes()
    for name in ("adapt_miniature", "robust", "wandb", "finetune_miniature", "suites/miniature")
    for path in [SHIPPED_CONFIGS / f"{name}.yaml"]
]


@many(2)
@given(content=damaged(CONFIGS))
def test_damaged_yaml(content: bytes) -> None:
    with suppress(yaml.YAMLError):
        load_plain(content.decode(errors="replace"))


@pytest.fixture(scope="module")
def job(folder: Path) -> WeMoECLI:
    """Whose parser reads the configs."""
    return build_job(["--config", "adapt_miniature", "--out", str(folder / "run")])


@many(0.4)
@given(data=st.data())
def test_an_altered_config(data: st.DataObject, job: WeMoECLI, folder: Path) -> None:
    config: dict[str, Any] = yaml.safe_load(CONFIGS[data.draw(st.sampled_from((0, 3)))])
    config["suite"] = yaml.safe_load(CONFIGS[-1])
    text = yaml.safe_dump(data.draw(altered(config))).encode()
    path = folder / "altered.yaml"
    path.write_bytes(data.draw(st.just(text) | damaged([text])))

    def parse() -> None:
        with only_allowed():
            check_parts(job.parser.parse_args(["--config", str(path)]))

    one_sentence(parse)


@many(0.2)
@given(data=st.data())
def test_a_job_of_an_altered_config(
    data: st.DataObject, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)  # where a config writes
    config = yaml.safe_load(CONFIGS[data.draw(st.sampled_from((0, 3)))])
    config["suite"] = yaml.safe_load(CONFIGS[-1])
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(data.draw(altered(config))))
    one_sentence(lambda: build_job(["--config", str(path)]))


@many(0.3)
@given(data=st.data())
def test_an_altered_recipe(data: st.DataObject, tiny_suite: Suite) -> None:
    merge = {"class_path": "wemoe_pl.merging.WEMoE", "init_args": {"init_lambda": 0.3}}
    recipe = {"suite": describe(tiny_suite), "merge": merge}
    drawn = data.draw(altered(recipe))
    if isinstance(drawn, dict):
        one_sentence(lambda: rebuild(drawn))


@many(0.3)
@given(data=st.data())
def test_altered_options_of_a_backbone(data: st.DataObject, tiny_suite: Suite) -> None:
    options = data.draw(altered(tiny_suite.backbone.options))
    if isinstance(options, dict) and small(options):
        one_sentence(lambda: Backbone("vit_tiny_patch16_224", options).shapes)


def small(options: dict[Any, Any]) -> bool:
    """Is a model with these options built in a moment?"""
    return all(
        not isinstance(value, int | float) or abs(value) < 1000 for value in options.values()
    )

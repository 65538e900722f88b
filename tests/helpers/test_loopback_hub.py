"""The hub on loopback is understood by the real client, and its content by the real readers."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx2
import numpy as np
import pytest
import torch
from helpers.hub_content import fill_hub, read_model, write_clip, write_expert
from helpers.hub_datasets import CONVERTED, DATASETS, write_dataset
from helpers.loopback_hub import LoopbackHub, branch
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder
from PIL import Image

REPO = "openai/clip"
WEIGHTS = bytes(range(256)) * 400


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """As conftest.py forbids; without waits between tries, and without a token of whoever runs."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    folder = tmp_path / "hub" / "models" / REPO
    (folder / "onnx" / "int8").mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "clip"}')
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "onnx" / "notes.txt").write_text("read me")
    (folder / "onnx" / "int8" / "notes.txt").write_text("read me too")
    with LoopbackHub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def api(hub: LoopbackHub) -> HfApi:
    return HfApi(endpoint=hub.endpoint)


@pytest.fixture
def download(hub: LoopbackHub, tmp_path: Path) -> Callable[..., Path]:
    def fetch(name: str = "model.safetensors", **options: Any) -> Path:
        cache = tmp_path / "cache"
        return Path(hf_hub_download(REPO, name, endpoint=hub.endpoint, cache_dir=cache, **options))

    return fetch


# --- what a repository has -------------------------------------------------------------------


@pytest.mark.parametrize("revision", [None, "main"])
def test_info_lists_files_with_their_hashes(
    revision: str | None, hub: LoopbackHub, api: HfApi
) -> None:
    info = api.model_info(REPO, revision=revision, files_metadata=True)
    assert info.sha == hub.commit("models", REPO)
    files = {file.rfilename: file for file in info.siblings or []}
    assert len(files) == 4
    weights, config = files["model.safetensors"], files["config.json"]
    assert weights.lfs is not None
    assert weights.lfs.sha256 == sha256(hub.root / "models" / REPO / "model.safetensors")
    assert weights.size == weights.lfs.size == len(WEIGHTS)
    assert (config.size, config.lfs) == (22, None)
    assert config.blob_id == "6d71d5947a0a8a2ad1517d775879c0ba7ac762dc"  # git hash-object


def test_info_names_files_only_unless_told_otherwise(api: HfApi) -> None:
    info = api.model_info(REPO)
    assert {(file.size, file.lfs) for file in info.siblings or []} == {(None, None)}


def test_the_tree_is_listed_by_folders_or_whole(api: HfApi) -> None:
    def paths(folder: str | None, recursive: bool) -> set[str]:
        tree = api.list_repo_tree(REPO, folder, recursive=recursive)
        return {e.path + ("/" if isinstance(e, RepoFolder) else "") for e in tree}

    top = {"config.json", "model.safetensors", "onnx/"}
    inside = {"onnx/notes.txt", "onnx/int8/"}
    assert paths(None, recursive=False) == top
    assert paths("onnx", recursive=False) == inside
    assert paths("onnx/int8", recursive=False) == {"onnx/int8/notes.txt"}
    assert paths(None, recursive=True) == top | inside | {"onnx/int8/notes.txt"}
    with pytest.raises(RemoteEntryNotFoundError):
        paths("tensorflow", recursive=False)


def test_paths_are_described_and_those_that_are_missing_left_out(api: HfApi) -> None:
    found = api.get_paths_info(REPO, ["model.safetensors", "onnx", "no.txt"], expand=True)
    weights, folder = found
    assert isinstance(weights, RepoFile)
    assert isinstance(folder, RepoFolder)
    assert weights.lfs is not None
    assert weights.lfs.size == len(WEIGHTS)
    assert weights.last_commit is not None


# --- downloads -------------------------------------------------------------------------------


def test_a_file_is_downloaded_once(hub: LoopbackHub, download: Callable[..., Path]) -> None:
    path = download()
    assert path.read_bytes() == WEIGHTS
    assert path.parent.name == hub.commit("models", REPO)
    assert path.resolve().name == sha256(path)  # the client names a blob by its ETag
    assert download() == path
    url = f"/{REPO}/resolve/main/model.safetensors"
    assert hub.requests == [f"HEAD {url}", f"GET {url}", f"HEAD {url}"]


def test_a_commit_that_is_cached_is_not_asked_for(
    hub: LoopbackHub, download: Callable[..., Path]
) -> None:
    path = download()
    asked = list(hub.requests)
    assert download(revision=hub.commit("models", REPO)) == path
    assert hub.requests == asked


def test_a_snapshot_has_every_file(hub: LoopbackHub, tmp_path: Path) -> None:
    folder = Path(snapshot_download(REPO, endpoint=hub.endpoint, cache_dir=tmp_path / "cache"))
    assert (folder / "onnx" / "int8" / "notes.txt").read_text() == "read me too"
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 4


def test_datasets_have_addresses_of_their_own(hub: LoopbackHub, tmp_path: Path) -> None:
    card = hub.root / "datasets" / "ylecun" / "mnist" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text("digits")
    options: dict[str, Any] = {"endpoint": hub.endpoint, "cache_dir": tmp_path}
    path = hf_hub_download("ylecun/mnist", "README.md", repo_type="dataset", **options)
    assert Path(path).read_text() == "digits"
    assert hub.requests[0] == "HEAD /datasets/ylecun/mnist/resolve/main/README.md"
    info = HfApi(endpoint=hub.endpoint).dataset_info("ylecun/mnist")
    assert info.sha == hub.commit("datasets", "ylecun/mnist")


def test_a_tag_and_a_commit_are_revisions_and_anything_else_is_not(
    hub: LoopbackHub, api: HfApi, download: Callable[..., Path]
) -> None:
    hub.tags["models", REPO] = {"v1", "refs/pr/1"}
    commit = hub.commit("models", REPO)
    for revision in ("v1", "refs/pr/1", commit):
        assert api.model_info(REPO, revision=revision).sha == commit
        assert download(revision=revision).parent.name == commit
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="v2")
    with pytest.raises(RevisionNotFoundError):
        download(revision="v2")


def test_new_files_are_a_new_commit(hub: LoopbackHub, download: Callable[..., Path]) -> None:
    before = download("config.json")
    (hub.root / "models" / REPO / "config.json").write_text("{}")
    hub.refresh()
    after = download("config.json")
    assert (before.read_text(), after.read_text()) == ('{"model_type": "clip"}', "{}")


# --- what is not there -----------------------------------------------------------------------


def test_a_missing_file_is_told_from_a_missing_repository(
    api: HfApi, download: Callable[..., Path]
) -> None:
    with pytest.raises(RemoteEntryNotFoundError):
        download("pytorch_model.bin")
    with pytest.raises(RepositoryNotFoundError, match="401"):
        api.model_info("openai/no")
    with pytest.raises(RepositoryNotFoundError, match="404"):
        api.model_info("openai/no", token="hf_some")


def test_a_gated_repository_is_refused(
    hub: LoopbackHub, api: HfApi, download: Callable[..., Path]
) -> None:
    hub.gated = {REPO}
    with pytest.raises(GatedRepoError, match="401"):
        api.model_info(REPO)
    with pytest.raises(GatedRepoError, match="403"):
        api.model_info(REPO, token="hf_some")
    with pytest.raises(GatedRepoError):
        download()


def test_a_gated_repository_may_show_what_it_has(
    hub: LoopbackHub, api: HfApi, download: Callable[..., Path]
) -> None:
    hub.gated_files = {REPO}
    assert api.model_info(REPO).gated == "manual"
    with pytest.raises(GatedRepoError, match="401"):
        download()


# --- faults ----------------------------------------------------------------------------------


def test_the_client_waits_for_a_hub_that_is_busy(
    hub: LoopbackHub, api: HfApi, download: Callable[..., Path]
) -> None:
    hub.fail_next(1)
    with pytest.raises(HfHubHTTPError, match="503"):
        api.model_info(REPO)  # this call does not try again
    hub.fail_next(2, status=500)
    assert download().read_bytes() == WEIGHTS


def test_a_hub_that_stays_busy_is_given_up(hub: LoopbackHub, download: Callable[..., Path]) -> None:
    hub.fail_next(100)
    with pytest.raises(LocalEntryNotFoundError):
        download()


@pytest.mark.parametrize(("chunk", "ranges"), [(1024, True), (10**7, False)])
def test_a_download_goes_on_after_a_cut(
    chunk: int,
    ranges: bool,
    hub: LoopbackHub,
    download: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", chunk)
    hub.cut_next(2)
    assert download().read_bytes() == WEIGHTS
    # The client loses the chunk that it waits for, which of a small file is all of it.
    assert len(hub.ranges) == (2 if ranges else 0)


def test_only_files_are_cut(hub: LoopbackHub, api: HfApi) -> None:
    hub.cut_next(1)
    assert api.model_info(REPO).sha
    with (
        urlopen(f"{hub.endpoint}/{REPO}/resolve/main/config.json") as reply,
        pytest.raises(Exception, match="IncompleteRead"),
    ):
        reply.read()


def test_a_corrupt_file_has_its_size_but_not_its_hash(
    hub: LoopbackHub, download: Callable[..., Path]
) -> None:
    hub.corrupt = {"model.safetensors"}
    path = download()  # the client looks at the size alone
    assert len(path.read_bytes()) == len(WEIGHTS)
    assert sha256(path) != path.resolve().name
    assert sum(a != b for a, b in zip(path.read_bytes(), WEIGHTS, strict=True)) == 1


def test_a_hub_that_has_closed_answers_nobody(tmp_path: Path) -> None:
    (tmp_path / "models" / REPO).mkdir(parents=True)
    with LoopbackHub(tmp_path) as hub:
        api = HfApi(endpoint=hub.endpoint)
        assert api.model_info(REPO).siblings == []
    with pytest.raises(httpx2.TransportError):
        api.model_info(REPO)  # over the connection that the client has kept


# --- content ---------------------------------------------------------------------------------

CLASSES = {task: [f"{task} {i}" for i in range(12)] for task in DATASETS}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("filled")
    fill_hub(root, CLASSES)
    return root


def test_the_hub_has_every_repository(filled: Path) -> None:
    names = {path.name for path in (filled / "models" / "tanganke").iterdir()}
    assert len(names) == 3 * 20
    assert "clip-vit-large-patch14_stanford-cars" in names
    assert (filled / "models/openai/clip-vit-base-patch32/pytorch_model.bin").is_file()
    assert (filled / "models/openai/clip-vit-base-patch16/model.safetensors").is_file()
    for dataset in DATASETS.values():
        folder = filled / "datasets" / dataset.repository
        name = dataset.file(dataset.scored)
        assert (folder / name).is_file() != dataset.converted
        assert (branch(folder, CONVERTED) / name).is_file() == dataset.converted


def test_a_branch_has_files_of_its_own(filled: Path, tmp_path: Path) -> None:
    repository, name = "clip-benchmark/wds_fer2013", "default/test/0000.parquet"
    with LoopbackHub(filled) as hub:
        api = HfApi(hub.endpoint, token=False)
        names = {
            revision: api.list_repo_files(repository, repo_type="dataset", revision=revision)
            for revision in ("main", CONVERTED)
        }
        commit = api.dataset_info(repository, revision=CONVERTED).sha
        path = hf_hub_download(
            repository,
            name,
            repo_type="dataset",
            revision=commit,
            endpoint=hub.endpoint,
            cache_dir=tmp_path,
        )
        with pytest.raises(RevisionNotFoundError):
            api.dataset_info(repository, revision="refs/convert/duckdb")
    assert names == {
        "main": ["test/0.tar", "train/0.tar"],
        CONVERTED: ["default/test/0000.parquet", "default/train/0000.parquet"],
    }
    written = branch(filled / "datasets" / repository, CONVERTED) / name
    assert sha256(Path(path)) == sha256(written)


@pytest.mark.parametrize("task", ["svhn", "mnist", "dtd"])
def test_datasets_reads_a_dataset(task: str, filled: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = str(filled / "datasets" / DATASETS[task].repository)
    config = DATASETS[task].config
    rows = datasets.load_dataset(folder, name=config, split="test", cache_dir=str(tmp_path))
    assert rows.features["label"].names == CLASSES[task]
    assert rows["label"] == [i * 11 % 12 for i in range(12)]
    image = rows[0]["image"]
    assert (image.mode, image.size) == (("L", (28, 28)) if task == "mnist" else ("RGB", (40, 32)))


def test_datasets_reads_shards_in_order(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    images = [Image.new("L", (4, 4), color=i) for i in range(5)]
    write_dataset(tmp_path, "data", "test", images, [4, 3, 2, 1, 0], None, shards=2)
    names = [f"test-0000{i}-of-00002.parquet" for i in range(2)]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == names
    files = {"test": [str(tmp_path / "data" / name) for name in names]}
    rows = datasets.load_dataset(
        "parquet", data_files=files, split="test", cache_dir=str(tmp_path / "cache")
    )
    assert rows["label"] == [4, 3, 2, 1, 0]
    assert [np.asarray(image)[0, 0] for image in rows["image"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("bin", [True, False])
def test_a_model_is_read_as_it_was_written(bin: bool, tmp_path: Path) -> None:
    state = write_clip(tmp_path, seed=1, bin=bin)
    again = read_model(tmp_path)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
    config = json.loads((tmp_path / "config.json").read_text())["vision_config"]
    sizes = ("image_size", "patch_size", "num_hidden_layers", "hidden_size")
    assert [config[size] for size in sizes] == [64, 16, 2, 64]


def test_an_expert_is_near_the_pretrained_vision_tower(tmp_path: Path) -> None:
    pretrained = write_clip(tmp_path / "pretrained", seed=1, heads=8)
    expert = write_expert(tmp_path / "expert", tmp_path / "pretrained", seed=2)
    weight = "vision_model.encoder.layers.1.mlp.fc1.weight"
    assert {name.split(".")[0] for name in expert} == {"vision_model"}
    assert 0.01 < (expert[weight] - pretrained[weight]).float().std() < 0.03
    assert json.loads((tmp_path / "expert/config.json").read_text())["num_attention_heads"] == 8
    assert write_expert(tmp_path / "same", pretrained, seed=2)[weight].equal(expert[weight])

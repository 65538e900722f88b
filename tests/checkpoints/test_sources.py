"""A source of weights is a file, a folder or a repository; what is wrong with it is said."""

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.loopback_hub import LoopbackHub
from safetensors.torch import load_file, save_file

from wemoe_pl.checkpoints import (
    adapter_config,
    fingerprint,
    hub_request,
    is_here,
    open_weights,
    weight_files,
)
from wemoe_pl.checkpoints.sources import WEIGHT_FILES, config_files, shards_request
from wemoe_pl.errors import CheckpointError, HubError
from wemoe_pl.system.files import SHIPPED
from wemoe_pl.system.hub_repo import HubRepo
from wemoe_pl.system.warn import warn_once

OWN = "encoder.safetensors"


def write_shards(folder: Path, shards: int = 2, suffix: str = "safetensors") -> list[Path]:
    """The shards with 'w0', 'w1', … and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"model-0000{i}-of-0000{shards}.{suffix}" for i in range(1, shards + 1)]
    for i, path in enumerate(paths):
        save_file({f"w{i}": torch.full((2,), float(i))}, path)
    write_index(folder, [path.name for path in paths])
    return paths


def write_index(folder: Path, names: list[str]) -> Path:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {f"w{i}": name for i, name in enumerate(names)}}))
    return index


# --- files and folders -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vit.safetensors", "vit.bin", "vit"])
def test_a_file_is_itself_whatever_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert weight_files(str(tmp_path / name), OWN) == [tmp_path / name]


def test_of_a_folders_weights_the_best_are_taken(tmp_path: Path) -> None:
    """Those that wemoe-pl wrote itself first, and safetensors before pickles."""
    names = [name for name in (OWN, *WEIGHT_FILES) if not name.endswith(".json")]
    (tmp_path / "config.json").touch()
    for name in reversed(names):
        (tmp_path / name).touch()
        assert weight_files(str(tmp_path), OWN) == [tmp_path / name]
    assert names == [
        "encoder.safetensors",
        "model.safetensors",
        "open_clip_model.safetensors",
        "pytorch_model.bin",
        "open_clip_pytorch_model.bin",
    ]


def test_what_wemoe_pl_shipped_is_found() -> None:
    assert weight_files("shipped:miniature", OWN) == [SHIPPED / "miniature" / OWN]


def test_home_is_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / OWN).touch()
    assert weight_files("~/encoder.safetensors", OWN) == [tmp_path / OWN]


def test_a_folder_without_weights_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").touch()
    complaint = (
        rf"^The folder {tmp_path} holds no weights: expected one of encoder\.safetensors, "
        r"model\.safetensors, .*open_clip_pytorch_model\.bin\. It has weights\.safetensors: name "
        r"the one that you mean\.$"
    )
    with pytest.raises(CheckpointError, match=complaint):
        weight_files(str(tmp_path), OWN)
    (tmp_path / "weights.safetensors").unlink()
    (tmp_path / "checkpoint-500").mkdir()
    (tmp_path / "checkpoint-500" / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"It has checkpoint-500: name the one that you mean"):
        weight_files(str(tmp_path), OWN)
    (tmp_path / "checkpoint-500" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"open_clip_pytorch_model\.bin\.$"):
        weight_files(str(tmp_path), OWN)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_a_folder_with_an_adapter_is_read_unless_there_is_a_model(
    name: str, tmp_path: Path
) -> None:
    for file in ("adapter_config.json", "README.md", name):
        (tmp_path / file).touch()
    assert weight_files(str(tmp_path), OWN) == [tmp_path / name]
    assert adapter_config([tmp_path / name]) == tmp_path / "adapter_config.json"
    (tmp_path / "model.safetensors").touch()
    warn_once.cache_clear()
    said = (
        rf"^The folder {tmp_path} holds a model, model\.safetensors, and an adapter .*{name}: the"
    )
    with pytest.warns(UserWarning, match=said):
        assert weight_files(str(tmp_path), OWN) == [tmp_path / "model.safetensors"]
    assert adapter_config([tmp_path / "model.safetensors"]) is None


def test_an_adapter_is_another_one_with_another_config(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").touch()
    digests = set()
    for config in ("{}", '{"lora_alpha": 2}'):
        (tmp_path / "adapter_config.json").write_text(config)
        digests.add(fingerprint(str(tmp_path), OWN))
    assert len(digests) == 2


def test_a_missing_file_is_answered_with_the_nearest_beside_it(tmp_path: Path) -> None:
    path = str(tmp_path / "expert.safetensors")
    with pytest.raises(CheckpointError, match=r"no file .*expert\.safetensors\. Check the path"):
        weight_files(path, OWN)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "expert1.safetensors").touch()
    complaint = r"Did you mean 'expert1\.safetensors'\? Valid names: expert1\.safetensors\.$"
    with pytest.raises(CheckpointError, match=complaint):
        weight_files(path, OWN)


@pytest.mark.parametrize("source", ["nowhere", "a/b/c", "/no/where", "../up/there", "./a", ""])
def test_what_can_only_be_a_path_is_not_asked_of_the_hub(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert hub_request(source, OWN) is None
    with pytest.raises(CheckpointError, match=r"no file|holds no weights"):
        weight_files(source, OWN)


# --- shards ----------------------------------------------------------------------------------


def test_shards_are_taken_all_from_their_index_or_folder(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 3)
    assert weight_files(str(tmp_path / "model.safetensors.index.json"), OWN) == paths
    assert weight_files(str(tmp_path), OWN) == paths


def test_a_shard_with_several_tensors_is_taken_once(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").touch()
    index = write_index(tmp_path, ["a.safetensors"] * 3)
    assert weight_files(str(index), OWN) == [tmp_path / "a.safetensors"]


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_without_their_index_are_taken_if_all_are_there(suffix: str, tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 3, suffix)
    (tmp_path / "model.safetensors.index.json").unlink()
    assert weight_files(str(tmp_path), OWN) == paths
    assert sorted(open_weights(str(tmp_path), OWN)) == ["w0", "w1", "w2"]
    paths[1].unlink()
    complaint = rf"2 of the 3 shards to which model-00001-of-00003\.{suffix} belongs: copy the oth"
    with pytest.raises(CheckpointError, match=complaint):
        weight_files(str(tmp_path), OWN)


def test_a_single_shard_is_no_model(tmp_path: Path) -> None:
    [path, _] = write_shards(tmp_path)
    complaint = rf"^{path} is one of 2 shards: give the folder that holds all of them\.$"
    with pytest.raises(CheckpointError, match=complaint):
        weight_files(str(path), OWN)
    only = path.rename(tmp_path / "model-00001-of-00001.safetensors")
    assert weight_files(str(only), OWN) == [only]


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    paths[1].unlink()
    complaint = (
        r"model\.safetensors\.index\.json lists model-00002-of-00002\.safetensors, "
        r"which is not beside it\.$"
    )
    with pytest.raises(CheckpointError, match=complaint):
        weight_files(str(tmp_path), OWN)


@pytest.mark.parametrize(
    "name", ["../secret.bin", "/etc/passwd", "sub/a.bin", "..", ".", "http://a/b.bin"]
)
def test_an_index_may_not_name_files_outside_its_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "vit"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "secret.bin", folder / "sub" / "a.bin"):
        path.touch()
    index = write_index(folder, [name])
    complaint = rf"index\.json lists .*{name}.*, which is (outside its folder|not beside it)\.$"
    with pytest.raises(CheckpointError, match=complaint):
        weight_files(str(index), OWN)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"weight_map": []}',
        '{"weight_map": {"a": ["b"]}}',
        "\xff",
        "[" * 10**5,
    ],
)
def test_a_damaged_index_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(content.encode("latin-1"))
    complaint = r"index\.json is not an index of shards: expected JSON with a 'weight_map'\.$"
    with pytest.raises(CheckpointError, match=complaint):
        weight_files(str(path), OWN)


@pytest.mark.parametrize("name", [5, None, {}, "a\0b", "a\x1b[2J", "..\\b", ""], ids=ascii)
def test_an_index_that_does_not_name_files_is_refused(name: object, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(CheckpointError, match=r"index\.json "):
        weight_files(str(path), OWN)


# --- the hub ---------------------------------------------------------------------------------


def publish(hub: LoopbackHub, *names: str) -> Path:
    folder = hub.root / "models" / "lab" / "vit"
    folder.mkdir(parents=True)
    for name in ("config.json", "README.md", *names):
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["pytorch_model.bin", "model.safetensors"], "model.safetensors"),
        (["pytorch_model.bin"], "pytorch_model.bin"),
        (["model.safetensors", "encoder.safetensors"], "encoder.safetensors"),
        (["open_clip_pytorch_model.bin", "open_clip_model.safetensors"], "open_clip_model.safeten"),
    ],
)
def test_of_a_repositorys_weights_the_best_are_fetched_with_their_config(
    names: list[str],
    best: str,
    online: Callable[[LoopbackHub], Path],
    tmp_path: Path,
) -> None:
    with LoopbackHub(tmp_path) as hub:
        publish(hub, *names)
        cache = online(hub)
        [path] = weight_files("lab/vit", OWN)
        assert path.name.startswith(best)
        assert path.read_text() == path.name
        fetched = {p for p in cache.rglob("snapshots/*/*") if p.is_file()}
        assert fetched == {path, path.with_name("config.json")}
        asked = len(hub.requests)
        assert weight_files("lab/vit", OWN) == [path]
        assert len(hub.requests) == asked


def test_shards_are_fetched_after_their_index(
    online: Callable[[LoopbackHub], Path], tmp_path: Path
) -> None:
    with LoopbackHub(tmp_path) as hub:
        write_shards(publish(hub), 3)
        online(hub)
        paths = weight_files("lab/vit", OWN)
    assert [path.name for path in paths] == [
        f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)
    ]
    weights = open_weights("lab/vit", OWN)  # of a hub that is gone
    assert {key: tensor.tolist() for key, tensor in weights.items()} == {
        f"w{i}": [i, i] for i in range(3)
    }
    assert weights.name == "lab/vit"


def test_a_shard_that_has_gone_from_the_cache_is_fetched_again(
    online: Callable[[LoopbackHub], Path], tmp_path: Path
) -> None:
    with LoopbackHub(tmp_path) as hub:
        write_shards(publish(hub))
        online(hub)
        paths = weight_files("lab/vit", OWN)
        paths[1].resolve().unlink()
        paths[1].unlink()
        del hub.requests[:]
        assert weight_files("lab/vit", OWN) == paths
        assert load_file(paths[1])["w1"].tolist() == [1, 1]
        assert [r for r in hub.requests if r.startswith("GET") and "/resolve/" in r] == [
            "GET /lab/vit/resolve/main/model-00002-of-00002.safetensors"
        ]


def test_shards_that_the_hub_lacks_are_named(
    online: Callable[[LoopbackHub], Path], tmp_path: Path
) -> None:
    with LoopbackHub(tmp_path) as hub:
        write_shards(publish(hub))[1].unlink()
        online(hub)
        complaint = (
            r"^lab/vit on the hub has no shards .*, model-00002-of-00002\.safetensors: check"
        )
        with pytest.raises(HubError, match=complaint):
            weight_files("lab/vit", OWN)


def test_a_repository_without_weights_is_named_with_what_it_lacks(
    online: Callable[[LoopbackHub], Path], tmp_path: Path
) -> None:
    with LoopbackHub(tmp_path) as hub:
        publish(hub, "tf_model.h5")
        online(hub)
        complaint = (
            r"^lab/vit on the hub has no weights \(encoder\.safetensors, model\.safetensors, "
        )
        with pytest.raises(HubError, match=complaint):
            weight_files("lab/vit", OWN)


def test_a_folder_is_preferred_to_a_repository_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub_request("lab/vit", OWN) is not None
    folder = tmp_path / "lab" / "vit"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    assert hub_request("lab/vit", OWN) is None
    assert weight_files("lab/vit", OWN) == [Path("lab/vit/model.safetensors")]


def test_a_request_is_for_models_at_the_revision() -> None:
    request = hub_request("lab/vit@v1", OWN)
    assert request is not None
    assert request.repo == HubRepo("lab/vit", "v1", "model")
    assert request.choose(["a.txt", "model.safetensors", OWN]) == [OWN]
    assert request.choose(["a.txt"]) == []


@pytest.mark.parametrize("source", ["lab/vit.safetensors", "lab/vit.bin", "lab/vit.pt"])
def test_a_name_that_ends_like_a_file_is_a_file(source: str) -> None:
    assert hub_request(source, OWN) is None


def test_an_adapter_is_fetched_with_its_config(
    online: Callable[[LoopbackHub], Path], tmp_path: Path
) -> None:
    with LoopbackHub(tmp_path) as hub:
        publish(hub, "adapter_config.json", "adapter_model.safetensors", "README.md")
        online(hub)
        assert not is_here("lab/vit", OWN)
        [weights] = weight_files("lab/vit", OWN)
    assert is_here("lab/vit", OWN)
    beside = {path.name for path in weights.parent.iterdir()}
    (weights.parent / "adapter_config.json").unlink()  # a download that was interrupted
    assert not is_here("lab/vit", OWN)
    assert beside >= {"adapter_config.json", "adapter_model.safetensors"}
    assert "README.md" not in beside


# --- configs ---------------------------------------------------------------------------------


def test_configs_lie_beside_weights_of_any_name(tmp_path: Path) -> None:
    for name in ("expert.pt", "open_clip_config.json", "tokenizer_config.json"):
        (tmp_path / name).touch()
    source = str(tmp_path / "expert.pt")
    assert config_files(source, OWN) == [tmp_path / "open_clip_config.json"]
    (tmp_path / "open_clip_config.json").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who gives a file alone knows what it is
        assert config_files(source, OWN) == []


def write_older_cache(hub: LoopbackHub, name: str) -> None:
    """Publish a model, and fetch it as was done before configs were."""
    folder = hub.root / "models" / "lab" / name
    write_shards(folder)
    (folder / "config.json").write_text("{}")
    request = hub_request(f"lab/{name}", OWN)
    assert request is not None
    index = replace(request, beside=()).fetch()[0]
    shards_request(request.repo, index).fetch()


def test_one_warning_tells_that_a_cache_was_made_without_configs(
    online: Callable[[LoopbackHub], Path], tmp_path: Path
) -> None:
    with LoopbackHub(tmp_path) as hub:
        cache = online(hub)
        for name in ("vit", "vit_cars"):
            write_older_cache(hub, name)
        asked = len(hub.requests)
        with pytest.warns(
            UserWarning, match=rf"hub's cache \({cache}\) .* run `wemoe-pl prepare`"
        ) as warned:
            assert config_files("lab/vit", OWN) == config_files("lab/vit_cars", OWN) == []
        assert len(warned) == 1
        assert len(hub.requests) == asked  # a run does not change because a repository does
        assert len(open_weights("lab/vit", OWN)) == 2
        update("lab/vit")
        [config] = config_files("lab/vit", OWN)
    assert config.read_text() == "{}"


def update(source: str) -> None:
    """Fetch what the hub has now, as `wemoe-pl prepare` does."""
    request = hub_request(source, OWN)
    assert request is not None
    request.update()


def test_of_a_repository_without_a_config_nothing_is_said(
    online: Callable[[LoopbackHub], Path], tmp_path: Path
) -> None:
    with LoopbackHub(tmp_path) as hub:
        write_shards(hub.root / "models" / "lab" / "vit")
        online(hub)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert config_files("lab/vit", OWN) == []


# --- fingerprints ----------------------------------------------------------------------------


def test_the_fingerprint_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / OWN).write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fingerprint(str(tmp_path / OWN), OWN) == expected
    assert fingerprint(str(tmp_path), OWN) == expected


def test_the_fingerprint_of_shards_is_that_of_all_of_them_in_order(tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    each = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert fingerprint(str(tmp_path), OWN) == hashlib.sha256("".join(each).encode()).hexdigest()
    before = fingerprint(str(tmp_path), OWN)
    save_file({"w1": torch.zeros(2)}, paths[1])
    assert fingerprint(str(tmp_path), OWN) != before


def test_the_fingerprint_of_a_large_file_from_the_hub_is_known_without_reading(
    online: Callable[[LoopbackHub], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackHub(tmp_path) as hub:
        save_file({"w": torch.ones(2)}, publish(hub) / "model.safetensors")
        online(hub)
        [path] = weight_files("lab/vit", OWN)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    path.resolve().chmod(0o644)
    path.resolve().write_bytes(b"not read")
    assert fingerprint("lab/vit", OWN) == expected

"""Files of the hub come once, verified; what goes wrong is one sentence that says what to do."""

import errno
import hashlib
import os
import resource
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.loopback_hub import LoopbackHub
from huggingface_hub import constants

from wemoe_pl.errors import HubError, UnreachableError, WeMoEError
from wemoe_pl.system import hub as our_hub
from wemoe_pl.system.disk_space import size_in_words
from wemoe_pl.system.hub import HubFile, HubFiles, is_complete
from wemoe_pl.system.hub_repo import HubRepo, Kind

NAME = "lab/vit"
REPO = HubRepo(NAME)
WEIGHTS = bytes(range(256)) * 100
CONFIG = '{"depth": 2}'
Online = Callable[[LoopbackHub], Path]


def of_names(*names: str) -> Callable[[Sequence[str]], list[str]]:
    return lambda found: [name for name in names if name in found]


def files(*names: str, repo: HubRepo = REPO) -> HubFiles:
    return HubFiles(repo, of_names(*names), f"weights ({', '.join(names)})")


NOWHERE = (
    f"There is neither a file or folder {NAME} here nor a model of that name in the hub's cache,"
)
WANTED = files("model.safetensors", "config.json")


def publish(root: Path, kind: str = "models", name: str = NAME) -> Path:
    folder = root / kind / name
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_text(CONFIG)
    (folder / "README.md").write_text("not wanted")
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    publish(tmp_path / "root")
    with LoopbackHub(tmp_path / "root") as hub:
        yield hub


@pytest.fixture
def cache(hub: LoopbackHub, online: Online) -> Path:
    """The empty cache of a client of `hub`."""
    return online(hub)


@pytest.fixture
def waits(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long has been waited for a busy hub."""
    seconds: list[float] = []
    monkeypatch.setattr("wemoe_pl.system.hub_repo.time.sleep", seconds.append)
    return seconds


def said(ask: Callable[[], object], kind: type[WeMoEError] = HubError) -> str:
    """What a user is told."""
    with pytest.raises(kind) as caught:
        ask()
    assert type(caught.value) is kind
    return str(caught.value)


def left_in(cache: Path) -> list[str]:
    """The names of the files that the cache's snapshots hold."""
    return sorted(path.name for path in cache.rglob("snapshots/*/*"))


# --- beside ----------------------------------------------------------------------------------


def test_what_lies_beside_comes_too_where_there_is_any(cache: Path) -> None:
    wanted = replace(files("model.safetensors"), beside=("config.json", "other.json"))
    assert not wanted.is_settled_beside
    assert [path.name for path in wanted.fetch()] == ["model.safetensors", "config.json"]
    assert wanted.is_settled_beside
    assert [path.name for path in wanted.cached() or []] == ["model.safetensors", "config.json"]
    assert left_in(cache) == ["config.json", "model.safetensors"]


def test_a_cache_that_was_made_without_them_goes_on_working(cache: Path) -> None:
    of_any = of_names("model.safetensors")
    HubFiles(REPO, of_any, "weights", all_or_none=True).fetch()
    wanted = HubFiles(REPO, of_any, "weights", all_or_none=True, beside=("config.json",))
    assert [path.name for path in wanted.fetch()] == ["model.safetensors"]
    assert not wanted.is_settled_beside
    assert [path.name for path in wanted.update()] == ["model.safetensors", "config.json"]


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../../evil.parquet", "/etc/evil", "data/../../evil", "a\\..\\evil", "a\nb", "./a", "a//b"],
)
def test_a_listing_that_names_files_outside_the_repository_is_refused(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SimpleNamespace(rfilename=name, size=1, lfs=None, blob_id="")
    info = SimpleNamespace(siblings=[file])
    monkeypatch.setattr("wemoe_pl.system.hub.HfApi.model_info", lambda *args, **options: info)
    with pytest.raises(HubError, match=r"^lab/vit on the hub has a file called .*outside of its"):
        HubFiles(REPO, list, "anything").fetch()
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_name_that_the_hub_would_never_give_is_refused(cache: Path) -> None:
    wanted = files("config.json", repo=HubRepo("lab/..vit--"))
    assert said(wanted.fetch) == "'lab/..vit--' cannot be the name of a model on the hub."


@pytest.mark.parametrize(
    ("names", "complete"),
    [
        (["model.safetensors", "config.json"], True),
        (["test-00000-of-00001.parquet"], True),
        (["data/test-00000-of-00002.parquet", "data/test-00001-of-00002.parquet"], True),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], True),
        (["test-00001-of-00002.parquet"], False),
        (["model-00002-of-00002.safetensors", "config.json"], False),
        (["a-00000-of-00001.parquet", "b-00000-of-00002.parquet"], False),
        (["a-00000-of-00002.parquet", "b-00001-of-00002.parquet"], False),
        (["a-00000-of-00002.parquet", "a-00001-of-00002.bin"], False),
    ],
)
def test_shards_are_complete_when_all_are_there_that_they_speak_of(
    names: list[str], complete: bool
) -> None:
    assert is_complete(names) == is_complete(names[::-1]) == complete


# --- what is fetched -------------------------------------------------------------------------


def test_what_was_chosen_is_fetched_and_nothing_else(cache: Path) -> None:
    weights, config = WANTED.fetch()
    assert weights.read_bytes() == WEIGHTS
    assert config.read_text() == CONFIG
    assert left_in(cache) == ["config.json", "model.safetensors"]
    assert weights.is_relative_to(cache)


def test_what_is_in_the_cache_is_not_asked_for(hub: LoopbackHub, cache: Path) -> None:
    assert WANTED.cached() is None
    assert hub.requests == []
    fetched = WANTED.fetch()
    asked = list(hub.requests)
    assert asked
    assert WANTED.fetch() == WANTED.cached() == fetched
    assert hub.requests == asked


@pytest.mark.parametrize("how", ["the hub is gone", "HF_HUB_OFFLINE"])
def test_after_the_first_time_no_network_is_needed(
    how: str, tmp_path: Path, online: Online, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path)
    with LoopbackHub(tmp_path) as hub:
        online(hub)
        fetched = WANTED.fetch()
        if how == "HF_HUB_OFFLINE":
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
            assert WANTED.fetch() == fetched
    assert WANTED.fetch() == fetched


def test_files_in_folders_and_of_datasets_are_fetched(hub: LoopbackHub, cache: Path) -> None:
    folder = publish(hub.root, "datasets", "lab/digits")
    (folder / "data").mkdir()
    (folder / "data" / "test-00000-of-00001.parquet").write_bytes(b"rows")
    repo = HubRepo("lab/digits", kind="dataset")
    wanted = files("data/test-00000-of-00001.parquet", repo=repo)
    [path] = wanted.fetch()
    assert path.read_bytes() == b"rows"
    assert wanted.cached() == [path]
    # A model of that name is something else.
    assert files("config.json", repo=HubRepo("lab/digits")).cached() is None


def test_what_the_hub_announces_is_what_it_has(cache: Path) -> None:
    weights, config = WANTED.announced()
    assert weights == HubFile(
        "model.safetensors", len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest()
    )
    blob = hashlib.sha1(b"blob %d\0%b" % (len(CONFIG), CONFIG.encode())).hexdigest()
    assert config == HubFile("config.json", len(CONFIG), blob)
    assert left_in(cache) == []


def test_what_has_changed_comes_when_asked_for(hub: LoopbackHub, cache: Path) -> None:
    """A run stays as it is; `prepare` looks for what is new."""
    before = WANTED.fetch()
    (hub.root / "models" / NAME / "config.json").write_text("{}")
    hub.refresh()
    assert WANTED.fetch() == before
    weights, config = WANTED.update()
    assert config.read_text() == "{}"
    assert weights.read_bytes() == WEIGHTS
    assert WANTED.fetch() == [weights, config] != before
    gets = [
        request for request in hub.requests if request.startswith("GET") and "resolve" in request
    ]
    assert sum("model.safetensors" in request for request in gets) == 1


def test_a_tag_and_a_commit_are_revisions_and_kept_apart(hub: LoopbackHub, cache: Path) -> None:
    hub.tags["models", NAME] = {"v1", "refs/pr/1"}
    commit = hub.commit("models", NAME)
    for revision in ("v1", "refs/pr/1", commit):
        wanted = files("config.json", repo=HubRepo(NAME, revision))
        [path] = wanted.fetch()
        assert path.parent.name == commit
        assert wanted.cached() == [path]
    assert files("config.json").cached() is None  # of main nothing is known
    (hub.root / "models" / NAME / "config.json").write_text("{}")
    hub.refresh()
    assert files("config.json").fetch()[0].read_text() == "{}"
    assert files("config.json", repo=HubRepo(NAME, "v1")).fetch()[0].read_text() == CONFIG


@pytest.mark.parametrize("kept", [[0], [1], []], ids=str)
def test_shards_that_are_not_all_in_the_cache_are_fetched(
    kept: list[int], hub: LoopbackHub, cache: Path
) -> None:
    names = [f"test-0000{i}-of-00002.parquet" for i in range(2)]
    for name in names:
        (hub.root / "models" / NAME / name).write_text(name)
    wanted = files(*names)
    paths = wanted.fetch()
    for i in {0, 1} - set(kept):
        our_hub.discard(paths[i])
    assert wanted.cached() is None
    assert [path.read_text() for path in wanted.fetch()] == names


# --- what is not there -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["model", "dataset"])
@pytest.mark.parametrize("name", ["lab/vitt", "lob/vit"])
def test_a_repository_that_is_not_there_may_be_misspelt_or_private(
    name: str, kind: Kind, cache: Path
) -> None:
    assert said(files("config.json", repo=HubRepo(name, kind=kind)).fetch) == (
        f"There is neither a file or folder {name} here nor a {kind} of that name on the hub: "
        "check its spelling, or log in with `hf auth login` if it is private."
    )


def test_a_revision_that_is_not_there_is_named(cache: Path) -> None:
    assert said(files("config.json", repo=HubRepo(NAME, "v2")).fetch) == (
        "The model lab/vit has no revision 'v2' on the hub: leave out '@…' for its main branch, or "
        "give one of its branches, tags or commits."
    )


def test_files_that_are_not_there_are_named(cache: Path) -> None:
    assert said(files("pytorch_model.bin", "vit.pt").fetch) == (
        "lab/vit on the hub has no weights (pytorch_model.bin, vit.pt): check that it is the right "
        "model and revision."
    )
    assert left_in(cache) == []


def test_a_gated_repository_is_refused_with_what_to_do(hub: LoopbackHub, cache: Path) -> None:
    complaint = (
        "The model lab/vit is gated: ask for access on its page, then log in with `hf auth login`."
    )
    hub.gated = {NAME}
    assert said(WANTED.fetch) == complaint
    hub.gated, hub.gated_files = set(), {NAME}
    assert len(WANTED.announced()) == 2  # anyone may see what there is
    assert said(WANTED.fetch) == complaint
    assert left_in(cache) == []


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503])
def test_a_busy_hub_is_asked_again(status: int, hub: LoopbackHub, waits: list[float]) -> None:
    hub.fail_next(3, status)
    assert WANTED.announced()[0].name == "model.safetensors"
    assert waits == [0.5, 1.0, 2.0]
    assert len(hub.requests) == 4


def test_a_hub_that_stays_busy_is_given_up(hub: LoopbackHub, waits: list[float]) -> None:
    hub.fail_next(100)
    assert said(WANTED.fetch) == "The hub answered 503 for lab/vit: try again later."
    assert len(hub.requests) == 4


def test_a_hub_that_refuses_is_not_asked_again(hub: LoopbackHub, waits: list[float]) -> None:
    hub.fail_next(1, 429)
    assert said(WANTED.fetch) == "The hub answered 429 for lab/vit: try again later."
    assert len(hub.requests) == 1
    assert waits == []


def test_a_hub_that_becomes_busy_between_files_is_waited_for(
    hub: LoopbackHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = our_hub.check_space

    def and_then_fail(repo: HubRepo, wanted: Sequence[HubFile]) -> None:
        original(repo, wanted)
        hub.fail_next(2)

    monkeypatch.setattr(our_hub, "check_space", and_then_fail)
    assert WANTED.fetch()[0].read_bytes() == WEIGHTS


def test_a_hub_that_becomes_busy_for_good_between_files_is_given_up(
    hub: LoopbackHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(our_hub, "check_space", lambda repo, wanted: hub.fail_next(1000))
    with pytest.raises(HubError, match=r"lab/vit.*503"):
        WANTED.fetch()
    assert left_in(cache) == []


@pytest.mark.parametrize("chunk", [1024, 10**7])
def test_a_download_goes_on_after_a_cut(
    chunk: int, hub: LoopbackHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", chunk)
    hub.cut_next(1)
    assert WANTED.fetch()[0].read_bytes() == WEIGHTS


def test_a_connection_that_is_always_cut_is_given_up_and_leaves_nothing_half_there(
    hub: LoopbackHub, cache: Path
) -> None:
    hub.cut_next(1000)
    complaint = said(WANTED.fetch, UnreachableError)
    assert complaint.startswith(f"{NOWHERE} and the hub cannot be reached (")
    assert "\n" not in complaint
    assert left_in(cache) == []
    hub._cuts = 0
    assert WANTED.fetch()[0].read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_is_damaged_on_its_way_is_removed_and_named(
    name: str, hub: LoopbackHub, cache: Path
) -> None:
    hub.corrupt = {name}
    assert said(WANTED.fetch) == (
        f"{name} of lab/vit was damaged in two downloads: its checksum is not the one that the "
        "hub announces. The file was removed; try again later."
    )
    assert name not in left_in(cache)
    assert sum(r.startswith("GET") and r.endswith(name) for r in hub.requests) == 2
    hub.corrupt = set()
    weights, config = WANTED.update()
    assert weights.read_bytes() == WEIGHTS
    assert config.read_text() == CONFIG


def test_a_file_that_is_damaged_once_comes_again(
    hub: LoopbackHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discard, hub.corrupt = our_hub.discard, {"model.safetensors"}

    def and_repair(path: Path) -> None:
        assert path.read_bytes() != WEIGHTS
        discard(path)
        hub.corrupt = set()

    monkeypatch.setattr(our_hub, "discard", and_repair)
    assert WANTED.fetch()[0].read_bytes() == WEIGHTS
    assert hub.corrupt == set()


def shortened(content: bytes) -> bytes:
    return content[:-1]


def altered(content: bytes) -> bytes:
    return b"?" + content[1:]


@pytest.mark.parametrize("damage", [shortened, altered])
def test_a_file_that_was_damaged_in_the_cache_is_replaced_by_an_update(
    damage: Callable[[bytes], bytes], cache: Path
) -> None:
    weights, config = WANTED.fetch()
    assert our_hub.is_blob_intact(weights)
    for path in (weights, config):
        blob = path.resolve()
        blob.chmod(0o644)
        blob.write_bytes(damage(blob.read_bytes()))
    assert not our_hub.is_blob_intact(weights)
    assert our_hub.is_blob_intact(config)  # its name is another kind of checksum
    assert WANTED.update() == [weights, config]
    assert weights.read_bytes() == WEIGHTS
    assert config.read_text() == CONFIG


def test_a_file_is_removed_with_what_its_link_points_to(cache: Path) -> None:
    weights, config = WANTED.fetch()
    blob = weights.resolve()
    assert blob != weights
    our_hub.discard(weights)
    assert not blob.exists()
    assert left_in(cache) == ["config.json"]
    assert config.read_text() == CONFIG


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("free", [0, len(WEIGHTS) + len(CONFIG) - 1])
def test_without_space_nothing_is_begun(
    free: int, hub: LoopbackHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(10**12, 10**12 - free, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert said(WANTED.fetch) == (
        f"There is no space for lab/vit: it needs 25.6 kB and the disk of {cache} has "
        f"{size_in_words(free)} left. Free some, or set HF_HOME to another disk."
    )
    assert asked == [cache]
    assert not any("resolve" in request for request in hub.requests)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 0, 25_612))
    assert WANTED.fetch()[0].read_bytes() == WEIGHTS


def test_what_is_in_the_cache_needs_no_space(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files("model.safetensors").fetch()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 0, len(CONFIG)))
    assert WANTED.update()[1].read_text() == CONFIG


def test_the_space_of_a_cache_that_is_not_there_yet_is_that_of_its_parent(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "not" / "yet"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, 0))
    assert f"the disk of {cache} has 0 B left" in said(WANTED.fetch)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cache_that_cannot_be_written_to_is_named(
    number: int, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number), str(cache / "blobs"))

    monkeypatch.setattr(our_hub, "hf_hub_download", refuse)
    assert said(WANTED.fetch).startswith(f"Cannot write {cache}/blobs: {os.strerror(number)}.")


def test_a_disk_that_fills_while_a_file_comes_is_named(cache: Path) -> None:
    """What the system says then names no file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(WEIGHTS) // 2, hard))
    try:
        complaint = said(WANTED.fetch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert complaint.startswith(f"Cannot write {cache}: File too large.")
    assert left_in(cache) == []
    assert WANTED.fetch()[0].read_bytes() == WEIGHTS


def test_without_a_network_what_is_missing_is_named(tmp_path: Path, online: Online) -> None:
    with LoopbackHub(tmp_path) as hub:
        pass
    online(hub)  # nobody listens any more
    assert said(WANTED.fetch, UnreachableError) == (
        f"{NOWHERE} and the hub cannot be reached ([Errno 111] Connection refused)."
    )


def test_without_a_name_server_what_is_missing_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    assert said(WANTED.fetch, UnreachableError).startswith(
        f"{NOWHERE} and the hub cannot be reached (["
    )


def test_offline_what_is_missing_is_named(
    hub: LoopbackHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for wanted in (WANTED, files("config.json", repo=HubRepo(NAME, "v1"))):
        assert said(wanted.fetch, UnreachableError) == (
            f"{NOWHERE.replace(NAME, str(wanted.repo))} and HF_HUB_OFFLINE is set."
        )
    assert hub.requests == []


@pytest.mark.parametrize("gone", ["model.safetensors", "config.json"])
def test_offline_a_cache_that_lacks_a_file_is_told(
    gone: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in WANTED.fetch():
        if path.name == gone:
            our_hub.discard(path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in said(files(gone).fetch, UnreachableError)


def test_shards_are_counted_whatever_their_names_end_in() -> None:
    names = [f"data/test-0000{i}-of-00002-8d3b0c2f5a6e7b19.parquet" for i in range(2)]
    assert our_hub.is_complete(names)
    assert not our_hub.is_complete(names[:1])


def test_files_without_a_count_in_their_names_are_complete_only_when_all_were_fetched(
    hub: LoopbackHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = our_hub.download
    wanted = HubFiles(REPO, lambda names: [n for n in names if n != "README.md"], "all but one")

    def break_off(repo: HubRepo, file: our_hub.HubFile) -> Path:
        if file.name == "model.safetensors":
            raise KeyboardInterrupt
        return fetch(repo, file)

    monkeypatch.setattr(our_hub, "download", break_off)
    with pytest.raises(KeyboardInterrupt):
        wanted.fetch()
    assert left_in(cache) == ["config.json"]
    assert wanted.cached() is None
    monkeypatch.setattr(our_hub, "download", fetch)
    assert [path.name for path in wanted.fetch()] == ["config.json", "model.safetensors"]
    asked = len(hub.requests)
    assert wanted.cached() == wanted.fetch()
    assert len(hub.requests) == asked

"""The source of weights is resolved here: a file, a folder, or a repository of the hub."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path, PurePath

from wemoe_pl.errors import CheckpointError, did_you_mean
from wemoe_pl.system.files import digest, locate
from wemoe_pl.system.hub import HubFiles, is_inside
from wemoe_pl.system.hub_repo import HubRepo

INDEX_SUFFIX = ".index.json"
# Names under which folders and repositories keep weights, the better forms first.
WEIGHT_FILES = (
    "model.safetensors", "model.safetensors.index.json", "open_clip_model.safetensors",
    "pytorch_model.bin", "pytorch_model.bin.index.json", "open_clip_pytorch_model.bin",
)  # fmt: skip
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json")


def weight_files(source: str, own_name: str) -> list[Path]:
    """The files that hold the weights of a source; several if it is sharded.

    Args:
        source: a file, a folder, `shipped:…`, or `owner/name[@revision]` on the hub, from where
            it is fetched unless it is in the cache.
        own_name: what `wemoe-pl` calls such weights in a folder, looked for first.

    Raises:
        CheckpointError: there is no such file, or none of these names in the folder.
        HubError: the hub has no such repository, or cannot be reached.
    """
    path = locate(source)
    if path.is_dir():
        return weights_in(path, own_name)
    if path.is_file():
        return shards_beside(path) if path.name.endswith(INDEX_SUFFIX) else [path]
    if request := hub_request(source, own_name):
        [first] = request.fetch()
        if not first.name.endswith(INDEX_SUFFIX):
            return [first]
        return shards_request(request.repo, first).fetch()
    siblings = [p.name for p in path.parent.glob("*") if p.suffix in WEIGHT_SUFFIXES]
    hint = did_you_mean(path.name, siblings) if siblings else "Check the path in the config."
    raise CheckpointError(f"There is no file {path}. {hint}")


def weights_in(folder: Path, own_name: str) -> list[Path]:
    """The files of the best weights in a folder."""
    for name in (own_name, *WEIGHT_FILES):
        if (folder / name).is_file():
            return weight_files(str(folder / name), own_name)
    raise CheckpointError(
        f"The folder {folder} holds no weights: expected one of "
        f"{', '.join((own_name, *WEIGHT_FILES))}."
    )


def hub_request(source: str, own_name: str) -> HubFiles | None:
    """Return the source as a request to the hub; None if it can only be a file or folder."""
    if locate(source).exists() or PurePath(source).suffix in WEIGHT_SUFFIXES:
        return None
    repo = HubRepo.parse(source, "model")
    if repo is None:
        return None

    def best(names: Sequence[str]) -> list[str]:
        return [name for name in (own_name, *WEIGHT_FILES) if name in names][:1]

    names = ", ".join((own_name, *WEIGHT_FILES))
    return HubFiles(repo, best, f"weights ({names})", all_or_none=True)


def shards_request(repo: HubRepo, index: Path) -> HubFiles:
    """Return the request for the shards that an index of sharded weights names."""
    wanted = shard_names(index)

    def all_or_none(names: Sequence[str]) -> list[str]:
        return wanted if set(wanted) <= set(names) else []

    return HubFiles(repo, all_or_none, f"shards {', '.join(wanted)}", all_or_none=True)


def shards_beside(index: Path) -> list[Path]:
    """The shards that an index speaks of, all of which must lie beside it."""
    shards = [index.parent / name for name in shard_names(index)]
    for shard in shards:
        if not shard.is_file():
            raise CheckpointError(f"{index} speaks of {shard.name}, which is not beside it.")
    return shards


def shard_names(index: Path) -> list[str]:
    """The names of the shards in an index."""
    try:
        names = set(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{index} is no index of shards: expected JSON with a 'weight_map'."
        ) from error
    for name in names:
        if not isinstance(name, str) or "/" in name or not is_inside(name):
            raise CheckpointError(f"{index} speaks of '{name}', which is outside its folder.")
    return sorted(names)


def fingerprint(source: str, own_name: str) -> str:
    """The SHA-256 of a source's weights: of the file, or of its shards' SHA-256 one after another.

    The cache of the hub names large files by it, so those need not be read.
    """
    digests = [digest(path) for path in weight_files(source, own_name)]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )

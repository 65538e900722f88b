"""Find the files of a source of weights: a file, a folder, or a repository of the hub."""

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath

from huggingface_hub import constants

from wemoe_pl.checkpoints.peft import ADAPTER_CONFIG, ADAPTER_FILES
from wemoe_pl.errors import CheckpointError, did_you_mean
from wemoe_pl.system.files import digest, locate
from wemoe_pl.system.hub import SHARD, HubFiles, is_complete, is_inside
from wemoe_pl.system.hub_repo import HubRepo
from wemoe_pl.system.near_paths import did_you_mean_path, perhaps_a_path
from wemoe_pl.system.warn import warn_once

IN_MEMORY = "in memory"  # the source of weights that were never in a file
HEAD_FILE = "head.safetensors"  # what the program itself calls a head
INDEX_SUFFIX = ".index.json"
# The names of weights in folders and repositories, the better forms first.
WEIGHT_FILES = (
    "model.safetensors", "model.safetensors.index.json", "open_clip_model.safetensors",
    "pytorch_model.bin", "pytorch_model.bin.index.json", "open_clip_pytorch_model.bin",
)  # fmt: skip
# May lie next to weights of any name.
CONFIG_FILES = ("config.json", "open_clip_config.json", "preprocessor_config.json")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json")


def weight_files(source: str, own_name: str) -> list[Path]:
    """Return the files that hold the weights of a source; several if the weights are sharded.

    Args:
        source: a file, a folder, `shipped:…`, or `owner/name[@revision]` on the hub, which is
            downloaded unless it is in the cache.
        own_name: the name that `wemoe-pl` itself gives such weights, which is looked for first.

    Raises:
        CheckpointError: there is no such file, or the folder has no weights of a known name.
        HubError: the hub has no such repository, or cannot be reached.
    """
    if source == IN_MEMORY:
        raise CheckpointError(
            "This model was merged from weights in memory, which are in no file: load its export "
            "in the format 'bundle', or give the models again, as `load_from_checkpoint(PATH, "
            "suite=ModelSuite.of(…))`."
        )
    path = locate(source)
    if path.is_dir():
        return weights_in(path, own_name)
    if path.is_file():
        check_is_whole(path)
        return shards_beside(path) if path.name.endswith(INDEX_SUFFIX) else [path]
    if request := hub_request(source, own_name):
        with perhaps_a_path(path):
            first = request.fetch()[0]
        if not first.name.endswith(INDEX_SUFFIX):
            return [first]
        return shards_request(request.repo, first).fetch()
    siblings = [p.name for p in path.parent.glob("*") if p.suffix in WEIGHT_SUFFIXES]
    hint = f" {did_you_mean(path.name, siblings)}" if siblings else did_you_mean_path(path)
    raise CheckpointError(f"There is no file {path}.{hint or ' Check the path.'}")


def weights_in(folder: Path, own_name: str) -> list[Path]:
    """Return the files of the weights in a folder that have the best form."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    if found := best_of(names, own_name, f"The folder {folder}"):
        return weight_files(str(folder / found[0]), own_name)
    if shards := shards_without_index(folder):
        return shards
    expected = ", ".join((own_name, *WEIGHT_FILES))
    others = sorted(path.name for path in folder.iterdir() if may_hold_weights(path))
    hint = f" It has {', '.join(others)}: name the one that you mean." if others else ""
    raise CheckpointError(
        f"The folder {folder} holds no weights: expected one of {expected}.{hint}"
    )


def best_of(names: Collection[str], own_name: str, owner: str) -> list[str]:
    """Return the name of the weights of the best form, with that of an adapter's config, or none.

    It warns if there is an adapter of PEFT beside a whole model.

    Args:
        names: the names of all files.
        own_name: the name that `wemoe-pl` itself gives such weights.
        owner: the folder or repository that holds the files, to begin a sentence.
    """
    whole = [name for name in (own_name, *WEIGHT_FILES) if name in names]
    adapters = [name for name in ADAPTER_FILES if name in names]
    if whole and adapters and whole[0] != HEAD_FILE:  # fine-tuning leaves a head and an adapter
        warn_once(
            f"{owner} holds a model, {whole[0]}, and an adapter of PEFT, {adapters[0]}: the model "
            "is read, and the adapter is not."
        )
    if whole or not adapters:
        return whole[:1]
    return [adapters[0], *(name for name in names if name == ADAPTER_CONFIG)]


def may_hold_weights(path: Path) -> bool:
    """Return whether a path is named like weights, or is a folder that has some."""
    is_named_so = path.is_file() and path.suffix in WEIGHT_SUFFIXES[:-1]
    expected = (*WEIGHT_FILES, *ADAPTER_FILES)
    return is_named_so or any((path / name).is_file() for name in expected)


def shards_without_index(folder: Path) -> list[Path]:
    """Return the shards in a folder, whose names tell how many there are; maybe none.

    Raises:
        CheckpointError: some shards are missing.
    """
    for suffix in (".safetensors", ".bin"):
        shards = sorted(path for path in folder.glob(f"*{suffix}") if count_of_shards(path) > 1)
        if shards and not is_complete([path.name for path in shards]):
            raise CheckpointError(
                f"The folder {folder} holds {len(shards)} of the {count_of_shards(shards[0])} "
                f"shards to which {shards[0].name} belongs: copy the others there too."
            )
        if shards:
            return shards
    return []


def count_of_shards(path: Path) -> int:
    """Return the number of shards that a shard's name tells; 1 for a file that is no shard."""
    found = SHARD.fullmatch(path.name)
    return int(found[3]) if found else 1


def check_is_whole(path: Path) -> None:
    """Raise `CheckpointError` for a file that is only one of several shards of a model."""
    if (count := count_of_shards(path)) > 1:
        raise CheckpointError(
            f"{path} is one of {count} shards: give the folder that holds all of them."
        )


def config_files(source: str, own_name: str) -> list[Path]:
    """Return the configs that lie next to the weights of a source; see `weight_files`.

    It warns, once for a cache of the hub, if the weights lie there without a config and nobody has
    asked yet whether their repository has one.
    """
    folder = weight_files(source, own_name)[0].parent
    found = [folder / name for name in CONFIG_FILES if (folder / name).is_file()]
    request = hub_request(source, own_name)
    if not found and request and not request.is_settled_beside:
        warn_once(
            f"The hub's cache ({constants.HF_HUB_CACHE}) has weights without their config.json, so "
            "their activation cannot be compared with the backbone's: run `wemoe-pl prepare` once "
            "where there is a network."
        )
    return found


def adapter_config(files: Sequence[Path]) -> Path | None:
    """Return where the config of an adapter should be, given its files; None for other weights."""
    return files[0].with_name(ADAPTER_CONFIG) if files[0].name in ADAPTER_FILES else None


def is_here(source: str, own_name: str) -> bool:
    """Return whether the files of a source are on this machine, so that nothing is fetched."""
    request = hub_request(source, own_name)
    return request.cached() is not None if request else locate(source).exists()


def hub_request(source: str, own_name: str) -> HubFiles | None:
    """Return the request to the hub for a source; None if it can only be a file or folder."""
    if locate(source).exists() or PurePath(source).suffix in WEIGHT_SUFFIXES:
        return None
    repo = HubRepo.parse(source, "model")
    if repo is None:
        return None

    def best(names: Sequence[str]) -> list[str]:
        found = best_of(names, own_name, f"The model {repo}")
        # A download may have ended before the config of an adapter was there.
        return [] if found and found[0] in ADAPTER_FILES and len(found) == 1 else found

    names = ", ".join((own_name, *WEIGHT_FILES))
    return HubFiles(repo, best, f"weights ({names})", all_or_none=True, beside=CONFIG_FILES)


def shards_request(repo: HubRepo, index: Path) -> HubFiles:
    """Return the request for the shards that an index of sharded weights names."""
    wanted = shard_names(index)

    def all_or_none(names: Sequence[str]) -> list[str]:
        return wanted if set(wanted) <= set(names) else []

    return HubFiles(repo, all_or_none, f"shards {', '.join(wanted)}", all_or_none=True)


def shards_beside(index: Path) -> list[Path]:
    """Return the shards that an index names; raise `CheckpointError` if one is not next to it."""
    shards = [index.parent / name for name in shard_names(index)]
    for shard in shards:
        if not shard.is_file():
            raise CheckpointError(f"{index} lists {shard.name}, which is not beside it.")
    return shards


def shard_names(index: Path) -> list[str]:
    """Return the names of the shards in an index, sorted."""
    try:
        names = set(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{index} is not an index of shards: expected JSON with a 'weight_map'."
        ) from error
    for name in names:
        if not isinstance(name, str) or "/" in name or not is_inside(name):
            raise CheckpointError(f"{index} lists '{name}', which is outside its folder.")
    return sorted(names)


def fingerprint(source: str, own_name: str) -> str:
    """Return the SHA-256 of a file of weights, or of the joined SHA-256 digests of its shards.

    The config of an adapter counts as a shard, since the scale of the adapter is in it.
    The cache of the hub names large files by their SHA-256, so those need not be read.
    """
    files = weight_files(source, own_name)
    config = adapter_config(files)
    digests = [digest(path) for path in [*files, *([config] if config else [])]]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )

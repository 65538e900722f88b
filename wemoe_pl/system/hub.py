"""Fetch files of the Hugging Face hub once, verify them, and then read them from its cache."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from huggingface_hub import DatasetInfo, HfApi, ModelInfo, constants, hf_hub_download
from huggingface_hub.file_download import repo_folder_name

from wemoe_pl.errors import HubError
from wemoe_pl.system.disk_space import check_room
from wemoe_pl.system.files import SHA256, atomic_write, cache_folder, sha256
from wemoe_pl.system.hub_repo import HubRepo, ask_hub, in_one_sentence

Choose = Callable[[Sequence[str]], list[str]]

LISTING_TIMEOUT = 5.0  # seconds, after which the hub counts as unreachable
SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?(\.\w+)")


@dataclass(frozen=True)
class HubFile:
    """A `HubFile` describes a file as the hub announces it.

    Args:
        name: the path of the file inside the repository.
        size: the size in bytes.
        digest: the SHA-256 of a large file, or git's SHA-1 of a small one.
    """

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class HubFiles:
    """A `HubFiles` stands for those files of a repository that `choose` picks from all names.

    Args:
        repo: the repository.
        choose: a function that returns, from the names of all files, the wanted ones, or none.
        wanted: the description of the wanted files in errors.
        all_or_none: True if `choose` knows all wanted names, and never returns only some of them.
        beside: the names of small files that are fetched as well if the repository has them.
    """

    repo: HubRepo
    choose: Choose
    wanted: str
    all_or_none: bool = False
    beside: tuple[str, ...] = ()

    def cached(self) -> list[Path] | None:
        """Return the files if all are in the cache, else None; the hub is never asked.

        A run must not change because its repository does: `prepare` looks for newer files.
        """
        folder = cached_folder(self.repo)
        if folder is None:
            return None
        names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        chosen = self.choose(names)
        if not chosen:
            return None
        wanted = self._with_beside(chosen, names)
        if all(map(SHARD.fullmatch, chosen)):
            complete = is_complete(chosen)
        else:  # these names do not say how many there are
            complete = self.all_or_none or self._noted(folder) == wanted
        return [folder / name for name in wanted] if complete else None

    def announced(self) -> list[HubFile]:
        """Return the descriptions of the files as the hub has them now.

        Raises:
            UnreachableError: there is no network, or the hub does not answer.
            HubError: there is no such repository, revision or file, or no access to it.
        """
        files = listing(self.repo)
        chosen = self.choose(sorted(files))
        if not chosen:
            raise HubError(
                f"{self.repo} on the hub has no {self.wanted}: check that it is the right "
                f"{self.repo.kind} and revision."
            )
        return [files[name] for name in self._with_beside(chosen, files)]

    def _with_beside(self, chosen: list[str], names: Collection[str]) -> list[str]:
        return chosen + [name for name in self.beside if name in names and name not in chosen]

    def fetch(self) -> list[Path]:
        """Return the files, which are downloaded and verified unless they are in the cache.

        Raises:
            HubError: see `announced`; also a damaged file or a full disk. No file is left
                incomplete.
        """
        return self.cached() or self.update()

    def update(self) -> list[Path]:
        """Download the files that are missing, changed or damaged in the cache, and return all."""
        files = self.announced()
        check_space(self.repo, files)
        paths = [download(self.repo, file) for file in files]
        snapshot = paths[0].parents[files[0].name.count("/")]
        with atomic_write(self._note(snapshot)) as temporary:
            temporary.write_text("\n".join(file.name for file in files))
        return paths

    @property
    def is_settled_beside(self) -> bool:
        """Return whether the hub was asked for the files of `beside` when the others were fetched.

        Earlier versions did not ask for them, and other programs fetch only what they need.
        """
        folder = cached_folder(self.repo)
        return folder is not None and self._note(folder).is_file()

    def _noted(self, snapshot: Path) -> list[str]:
        """Return the names of all the files that were once fetched into a snapshot; or none."""
        note = self._note(snapshot)
        return note.read_text().split("\n") if note.is_file() else []

    def _note(self, snapshot: Path) -> Path:
        described = " ".join([str(snapshot), self.wanted, *self.beside])
        key = hashlib.sha256(described.encode()).hexdigest()
        return cache_folder("fetched") / f"{key}.txt"


def cached_folder(repo: HubRepo) -> Path | None:
    """Return the folder of a repository at a revision in the cache; None if it is not there."""
    with in_one_sentence(repo):
        repo_folder = repo_folder_name(repo_id=repo.name, repo_type=repo.kind)
    cache = Path(constants.HF_HUB_CACHE) / repo_folder
    reference = cache / "refs" / repo.revision
    commit = reference.read_text().strip() if reference.is_file() else repo.revision
    folder = cache / "snapshots" / commit
    return folder if folder.is_dir() else None


def commit_and_names(repo: HubRepo, files: Sequence[Path]) -> tuple[str, list[str]]:
    """Return the commit that files of the cache belong to, and their names in the repository."""
    folder = cached_folder(repo)
    assert folder is not None  # since the files are in it
    return folder.name, [path.relative_to(folder).as_posix() for path in files]


def is_complete(names: Sequence[str]) -> bool:
    """Return whether every shard is there that the names tell of.

    The shards of datasets are counted from 0, those of models from 1.

    >>> is_complete(["test-00000-of-00002.parquet"])
    False
    """
    parts = [found for name in names if (found := SHARD.fullmatch(name))]
    counts = Counter((found[1], found[3], found[4]) for found in parts)
    return all(found == int(count) for (_, count, _), found in counts.items())


def listing(repo: HubRepo) -> dict[str, HubFile]:
    """Return all files of a repository by name, as the hub announces them."""
    api = HfApi(endpoint=constants.ENDPOINT)
    info: Callable[..., ModelInfo | DatasetInfo] = (
        api.model_info if repo.kind == "model" else api.dataset_info
    )
    ask = partial(
        info, repo.name, revision=repo.revision, files_metadata=True, timeout=LISTING_TIMEOUT
    )
    files = {}
    for file in ask_hub(repo, ask).siblings or []:
        if not is_inside(file.rfilename):
            raise HubError(
                f"{repo} on the hub has a file called {file.rfilename!r}, which would lie outside "
                f"of its folder: use another {repo.kind}."
            )
        digest = file.lfs.sha256 if file.lfs else file.blob_id or ""
        files[file.rfilename] = HubFile(file.rfilename, file.size or 0, digest)
    return files


def is_inside(name: str) -> bool:
    r"""Return whether a name stays below its folder, on every system.

    >>> [is_inside(name) for name in ("data/a.parquet", "data/../../a", "/a", "C:\\\\a")]
    [True, False, False, False]
    """
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and {"", ".", ".."}.isdisjoint(parts)


def download(repo: HubRepo, file: HubFile) -> Path:
    """Return a verified file in the cache; it is fetched if it is missing or damaged there."""
    fetch = partial(
        hf_hub_download, repo.name, file.name, repo_type=repo.kind, revision=repo.revision
    )
    for _ in range(2):
        path = Path(ask_hub(repo, fetch))
        if is_as_announced(path, file):
            return path
        discard(path)
    raise HubError(
        f"{file.name} of {repo} was damaged in two downloads: its checksum is not the one that the "
        "hub announces. The file was removed; try again later."
    )


def is_as_announced(path: Path, file: HubFile) -> bool:
    """Return whether a file has the content that the hub announces."""
    if path.stat().st_size != file.size:
        return False
    if SHA256.fullmatch(file.digest):
        return sha256(path) == file.digest
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest() == file.digest


def is_blob_intact(path: Path) -> bool:
    """Return whether the content of a file in the cache has the hash that is its name there.

    Only large files are named by their SHA-256; small ones pass.
    """
    name = path.resolve().name
    return not SHA256.fullmatch(name) or sha256(path) == name


def discard(path: Path) -> None:
    """Remove a file from the cache: the link in its snapshot and the file that it points to."""
    target = path.resolve()
    path.unlink()
    target.unlink(missing_ok=True)


def check_space(repo: HubRepo, files: Sequence[HubFile]) -> None:
    """Raise `HubError` if the disk of the cache has no room for the files that are missing."""
    folder = cached_folder(repo)
    missing = [f for f in files if folder is None or not (folder / f.name).is_file()]
    check_room(str(repo), sum(file.size for file in missing))

"""Files of the Hugging Face hub: fetched once, verified, and from then on read from its cache."""

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

LISTING_TIMEOUT = 5.0  # seconds: without a network, the answer comes soon
SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?(\.\w+)")


@dataclass(frozen=True)
class HubFile:
    """A file as the hub announces it.

    Args:
        name: its path inside the repository.
        size: bytes.
        digest: SHA-256 of a large file, git's SHA-1 of a small one.
    """

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class HubFiles:
    """Some files of a repository: those that `choose` picks from the names of all.

    Args:
        repo: the repository.
        choose: from the names of all files, those that are wanted; none if they are not there.
        wanted: what `choose` looks for, in words.
        all_or_none: does `choose` know by itself what is all, and never pick a part of it?
        beside: names of small files that come with them where the repository has any.
    """

    repo: HubRepo
    choose: Choose
    wanted: str
    all_or_none: bool = False
    beside: tuple[str, ...] = ()

    def cached(self) -> list[Path] | None:
        """The files, if all are in the cache; never asks the hub.

        A run does not change because its repository does: `prepare` looks for newer files.
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
        """The files as the hub has them now.

        Raises:
            UnreachableError: there is no network, or the hub does not answer.
            HubError: no such repository, revision or files, or no access.
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
        """The files, from the cache or else from the hub, where each is verified.

        Raises:
            HubError: see `announced`; also a damaged file or a full disk. Nothing is half there.
        """
        return self.cached() or self.update()

    def update(self) -> list[Path]:
        """The files as the hub has them now: what is missing, changed or damaged is downloaded."""
        files = self.announced()
        check_space(self.repo, files)
        paths = [download(self.repo, file) for file in files]
        snapshot = paths[0].parents[files[0].name.count("/")]
        with atomic_write(self._note(snapshot)) as temporary:
            temporary.write_text("\n".join(file.name for file in files))
        return paths

    @property
    def is_settled_beside(self) -> bool:
        """Is it known of the files of the cache whether the repository has any beside them?

        Earlier versions did not ask, and other programs fetch what they need.
        """
        folder = cached_folder(self.repo)
        return folder is not None and self._note(folder).is_file()

    def _noted(self, snapshot: Path) -> list[str]:
        """The names of all the files, if they were once fetched into a snapshot of the cache."""
        note = self._note(snapshot)
        return note.read_text().split("\n") if note.is_file() else []

    def _note(self, snapshot: Path) -> Path:
        described = " ".join([str(snapshot), self.wanted, *self.beside])
        key = hashlib.sha256(described.encode()).hexdigest()
        return cache_folder("fetched") / f"{key}.txt"


def cached_folder(repo: HubRepo) -> Path | None:
    """Return the cache's folder of a repository at a revision; None if it holds nothing of it."""
    with in_one_sentence(repo):
        repo_folder = repo_folder_name(repo_id=repo.name, repo_type=repo.kind)
    cache = Path(constants.HF_HUB_CACHE) / repo_folder
    reference = cache / "refs" / repo.revision
    commit = reference.read_text().strip() if reference.is_file() else repo.revision
    folder = cache / "snapshots" / commit
    return folder if folder.is_dir() else None


def commit_and_names(repo: HubRepo, files: Sequence[Path]) -> tuple[str, list[str]]:
    """The commit that files of the cache are of, and their names in the repository."""
    folder = cached_folder(repo)
    assert folder is not None  # as the files are there
    return folder.name, [path.relative_to(folder).as_posix() for path in files]


def is_complete(names: Sequence[str]) -> bool:
    """Is every shard there that the names speak of? Datasets count from 0, models from 1.

    >>> is_complete(["test-00000-of-00002.parquet"])
    False
    """
    parts = [found for name in names if (found := SHARD.fullmatch(name))]
    counts = Counter((found[1], found[3], found[4]) for found in parts)
    return all(found == int(count) for (_, count, _), found in counts.items())


def listing(repo: HubRepo) -> dict[str, HubFile]:
    """All files of a repository by name, as the hub announces them."""
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
    r"""Is a name that of something below a folder, on every system?

    >>> [is_inside(name) for name in ("data/a.parquet", "data/../../a", "/a", "C:\\\\a")]
    [True, False, False, False]
    """
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and {"", ".", ".."}.isdisjoint(parts)


def download(repo: HubRepo, file: HubFile) -> Path:
    """One file in the cache, verified; a copy there that is damaged is replaced."""
    fetch = partial(
        hf_hub_download, repo.name, file.name, repo_type=repo.kind, revision=repo.revision
    )
    for _ in range(2):
        path = Path(ask_hub(repo, fetch))
        if is_as_announced(path, file):
            return path
        discard(path)
    raise HubError(
        f"{file.name} of {repo} was damaged on its way, twice: its checksum is not what the hub "
        "announces. It was removed; try again later."
    )


def is_as_announced(path: Path, file: HubFile) -> bool:
    """Has a file the content that the hub announces?"""
    if path.stat().st_size != file.size:
        return False
    if SHA256.fullmatch(file.digest):
        return sha256(path) == file.digest
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest() == file.digest


def is_blob_intact(path: Path) -> bool:
    """Has a file of the cache the content that its name there speaks of?

    Only large files are named by their SHA-256; small ones pass.
    """
    name = path.resolve().name
    return not SHA256.fullmatch(name) or sha256(path) == name


def discard(path: Path) -> None:
    """Remove a file from the cache: the link of its snapshot and what it points to."""
    target = path.resolve()
    path.unlink()
    target.unlink(missing_ok=True)


def check_space(repo: HubRepo, files: Sequence[HubFile]) -> None:
    """Raise `HubError` when the disk of the cache has no room for files that it lacks."""
    folder = cached_folder(repo)
    missing = [f for f in files if folder is None or not (folder / f.name).is_file()]
    check_room(str(repo), sum(file.size for file in missing))

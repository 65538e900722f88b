"""Files of the Hugging Face hub: fetched once, verified, and from then on read from its cache."""

import errno
import hashlib
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from huggingface_hub import (
    CommitOperationAdd,
    DatasetInfo,
    HfApi,
    ModelInfo,
    constants,
    hf_hub_download,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from wemoe_pl.errors import HubError, UnreachableError
from wemoe_pl.system.files import SHA256, atomic_write, cache_folder, sha256

Kind = Literal["model", "dataset"]
T = TypeVar("T")
Choose = Callable[[Sequence[str]], list[str]]

LISTING_TIMEOUT = 5.0  # seconds: without a network, the answer comes soon
BUSY_WAITS = (0.5, 1.0, 2.0)  # seconds before a busy hub is asked again
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk that fills names no file
# Each part begins with a letter, digit or underscore: none is a folder above, or an option.
HUB_ID = re.compile(r"(PART)/(PART)(@PART(/PART)*)?".replace("PART", r"\w[\w.-]{0,95}"), re.ASCII)
SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?(\.\w+)")


@dataclass(frozen=True)
class HubRepo:
    """A repository of the hub at a revision.

    Args:
        name: `owner/name`.
        revision: a branch, a tag or a commit.
        kind: of models or of datasets.
    """

    name: str
    revision: str = "main"
    kind: Kind = "model"

    @classmethod
    def parse(cls, source: str, kind: Kind) -> "HubRepo | None":
        """The repository that `owner/name` or `owner/name@revision` means; None if it is no such.

        >>> HubRepo.parse("openai/clip-vit-base-patch32@v1", "model")
        HubRepo(name='openai/clip-vit-base-patch32', revision='v1', kind='model')
        """
        if not HUB_ID.fullmatch(source) or ".." in source:
            return None
        name, _, revision = source.partition("@")
        return cls(name, revision or "main", kind)

    def __str__(self) -> str:
        at = "" if self.revision == "main" else f"@{self.revision}"
        return f"{self.name}{at}"


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
    """

    repo: HubRepo
    choose: Choose
    wanted: str
    all_or_none: bool = False

    def cached(self) -> list[Path] | None:
        """The files, if all are in the cache; never asks the hub.

        A run does not change because its repository does: `prepare` looks for newer files.
        """
        folder = cached_folder(self.repo)
        if folder is None:
            return None
        names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        chosen = self.choose(names)
        if all(map(SHARD.fullmatch, chosen)):
            complete = is_complete(chosen)
        else:  # these names do not say how many there are
            complete = self.all_or_none or self._noted(folder) == chosen
        return [folder / name for name in chosen] if chosen and complete else None

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
        return [files[name] for name in chosen]

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

    def _noted(self, snapshot: Path) -> list[str]:
        """The names of all the files, if they were once fetched into a snapshot of the cache."""
        note = self._note(snapshot)
        return note.read_text().split("\n") if note.is_file() else []

    def _note(self, snapshot: Path) -> Path:
        key = hashlib.sha256(f"{snapshot} {self.wanted}".encode()).hexdigest()
        return cache_folder("fetched") / f"{key}.txt"


def cached_folder(repo: HubRepo) -> Path | None:
    """Where the cache keeps a repository at a revision; None if it holds nothing of it."""
    with explained(repo):
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
        info,
        repo.name,
        revision=repo.revision,
        files_metadata=True,
        timeout=LISTING_TIMEOUT,
    )
    with explained(repo):
        siblings = patiently(ask).siblings or []
    for file in siblings:
        if not is_inside(file.rfilename):
            raise HubError(
                f"{repo} on the hub has a file called {file.rfilename!r}, which would lie outside "
                f"of its folder: use another {repo.kind}."
            )
    return {
        file.rfilename: HubFile(
            file.rfilename,
            file.size or 0,
            file.lfs.sha256 if file.lfs else file.blob_id or "",
        )
        for file in siblings
    }


def is_inside(name: str) -> bool:
    r"""Is a name that of something below a folder, on every system?

    >>> [is_inside(name) for name in ("data/a.parquet", "data/../../a", "/a", "C:\\\\a")]
    [True, False, False, False]
    """
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and {"", ".", ".."}.isdisjoint(parts)


def licence_of(repo: HubRepo) -> str | None:
    """The licence that the card of a repository states, if it does.

    Raises:
        HubError: see `explained`.
    """
    ask = partial(HfApi(endpoint=constants.ENDPOINT).model_info, repo.name, timeout=LISTING_TIMEOUT)
    with explained(repo):
        card = patiently(ask).card_data
    licence = card.get("license") if card else None
    return licence if isinstance(licence, str) else None


def upload(repo: HubRepo, content: Mapping[str, Path | bytes], message: str) -> None:
    """Put files into a repository, in one commit; it is made if it is not there.

    Args:
        repo: the repository.
        content: by their names there, files of this machine or what is in them.
        message: of the commit.

    Raises:
        UnreachableError: there is no network, or the hub does not answer.
        HubError: the user may not write there.
    """
    api = HfApi(endpoint=constants.ENDPOINT)
    added = [CommitOperationAdd(name, part) for name, part in content.items()]
    try:
        api.create_repo(repo.name, repo_type=repo.kind, exist_ok=True)
        api.create_commit(repo.name, added, commit_message=message, repo_type=repo.kind)
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):
            raise HubError(
                f"The hub does not let you write to {repo}: log in with `hf auth login`, with a "
                "token that may write there."
            ) from error
        raise HubError(f"The hub answered {status} for {repo}: try again later.") from error
    except HFValidationError as error:
        raise HubError(f"'{repo}' cannot be the name of a {repo.kind} on the hub.") from error
    except Exception as error:  # the client raises many kinds
        raise UnreachableError(
            f"Nothing was uploaded to {repo}: the hub cannot be reached ({reason(error)})."
        ) from error


def download(repo: HubRepo, file: HubFile) -> Path:
    """One file in the cache, verified; a copy there that is damaged is replaced."""
    fetch = partial(
        hf_hub_download,
        repo.name,
        file.name,
        repo_type=repo.kind,
        revision=repo.revision,
    )
    for _ in range(2):
        with explained(repo):
            path = Path(patiently(fetch))
        if is_intact(path, file):
            return path
        discard(path)
    raise HubError(
        f"{file.name} of {repo} was damaged on its way, twice: its checksum is not what the hub "
        "announces. It was removed; try again later."
    )


def is_intact(path: Path, file: HubFile) -> bool:
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


def check_room(what: str, needed: int) -> None:
    """Raise `HubError` when the disk of the cache has less than `needed` bytes left."""
    place = existing_parent(Path(constants.HF_HUB_CACHE))
    free = shutil.disk_usage(place).free
    if needed > free:
        raise HubError(
            f"There is no space for {what}: it needs {size_in_words(needed)} and the disk of "
            f"{place} has {size_in_words(free)} left. Free some, or set HF_HOME to another disk."
        )


def existing_parent(path: Path) -> Path:
    """The path itself, or the first folder above it that is there."""
    return next(p for p in (path, *path.parents) if p.exists())


def size_in_words(size: int) -> str:
    """Bytes for people.

    >>> size_in_words(350_000_000)
    '350 MB'
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} B"


def patiently(ask: Callable[[], T]) -> T:
    """Ask again, a few times, a hub that says that it is busy."""
    for wait in BUSY_WAITS:
        try:
            return ask()
        except HfHubHTTPError as error:
            if error.response.status_code < 500:
                raise
            time.sleep(wait)
    return ask()


@contextmanager
def explained(repo: HubRepo) -> Iterator[None]:
    """Turn what the hub's client raises into one sentence that says what to do."""
    thing = f"The {repo.kind} {repo}"
    try:
        yield
    except GatedRepoError as error:
        raise HubError(
            f"{thing} is gated: ask for access on its page, then log in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(
            f"The {repo.kind} {repo.name} has no revision '{repo.revision}' on the hub: leave out "
            "'@…' for its main branch, or give one of its branches, tags or commits."
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"There is neither a file or folder {repo.name} here nor a {repo.kind} of that name "
            "on the hub: check its spelling, or log in with `hf auth login` if it is private."
        ) from error
    except HFValidationError as error:
        raise HubError(f"'{repo}' cannot be the name of a {repo.kind} on the hub.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise HubError(f"The hub answered {status} for {repo}: try again later.") from error
    except OfflineModeIsEnabled as error:
        raise UnreachableError(
            f"{thing} is neither here nor in the cache, and HF_HUB_OFFLINE is set."
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and (error.filename or error.errno in FULL):
            place = error.filename or constants.HF_HUB_CACHE
            raise HubError(f"Cannot write {place}: {error.strerror}.") from error
        raise UnreachableError(
            f"{thing} is neither here nor in the cache, and the hub cannot be reached "
            f"({reason(error)})."
        ) from error


def reason(error: BaseException) -> str:
    """What lies at the bottom of a client's error, in a few words."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error).partition("\n")[0] or type(error).__name__

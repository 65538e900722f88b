"""Define repositories of the Hugging Face hub, and ask it patiently, with helpful errors."""

import errno
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from wemoe_pl.errors import HubError, UnreachableError

Kind = Literal["model", "dataset"]
T = TypeVar("T")

BUSY_WAITS = (0.5, 1.0, 2.0)  # seconds before a busy hub is asked again
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # these errors name no file
# Each part begins with a letter, digit or underscore: none is a parent folder or an option.
HUB_ID = re.compile(r"(PART)/(PART)(@PART(/PART)*)?".replace("PART", r"\w[\w.-]{0,95}"), re.ASCII)


@dataclass(frozen=True)
class HubRepo:
    """A `HubRepo` is a repository of the hub at a revision.

    Args:
        name: `owner/name`.
        revision: a branch, a tag or a commit.
        kind: the kind of the repository, of a model or of a dataset.
    """

    name: str
    revision: str = "main"
    kind: Kind = "model"

    @classmethod
    def parse(cls, source: str, kind: Kind) -> "HubRepo | None":
        """Return the repository that `owner/name` or `owner/name@revision` means; else None.

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


def ask_hub(repo: HubRepo, question: Callable[[], T]) -> T:
    """Return the answer of the hub to a question about a repository.

    Args:
        repo: the repository.
        question: the function that asks the hub, by the hub's own client.

    Raises:
        UnreachableError: there is no network, or the hub does not answer.
        HubError: there is no such repository or revision, no access, or no disk to write to.
    """
    with in_one_sentence(repo):
        return patiently(question)


def patiently(question: Callable[[], T]) -> T:
    """Ask the hub, and ask again, a few times, if it answers that it is busy."""
    for wait in BUSY_WAITS:
        try:
            return question()
        except HfHubHTTPError as error:
            if error.response.status_code < 500:
                raise
            time.sleep(wait)
    return question()


@contextmanager
def in_one_sentence(repo: HubRepo) -> Iterator[None]:
    """Turn errors of the hub's client into errors whose one sentence says what to do."""
    nowhere = f"There is neither a file or folder {repo} here nor a {repo.kind} of that name"
    try:
        yield
    except GatedRepoError:
        raise HubError(
            f"The {repo.kind} {repo} is gated: ask for access on its page, then log in with "
            "`hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise HubError(
            f"The {repo.kind} {repo.name} has no revision '{repo.revision}' on the hub: leave out "
            "'@…' for its main branch, or give one of its branches, tags or commits."
        ) from None
    except RepositoryNotFoundError:
        raise HubError(
            f"{nowhere} on the hub: check its spelling, or log in with `hf auth login` if it is "
            "private."
        ) from None
    except HFValidationError:
        raise HubError(f"'{repo}' cannot be the name of a {repo.kind} on the hub.") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise HubError(f"The hub answered {status} for {repo}: try again later.") from None
    except OfflineModeIsEnabled:
        raise UnreachableError(
            f"{nowhere} in the hub's cache, and HF_HUB_OFFLINE is set."
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and (error.filename or error.errno in DISK_FULL):
            place = error.filename or constants.HF_HUB_CACHE
            raise HubError(f"Cannot write {place}: {error.strerror}.") from None
        raise UnreachableError(
            f"{nowhere} in the hub's cache, and the hub cannot be reached ({reason(error)})."
        ) from None


def reason(error: BaseException) -> str:
    """Return the first cause of an error of the hub's client, in a few words."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error).partition("\n")[0] or type(error).__name__

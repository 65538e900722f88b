"""Upload files to the hub in one commit, and read the licences of its models."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from wemoe_pl.errors import HubError, UnreachableError
from wemoe_pl.system.hub import LISTING_TIMEOUT
from wemoe_pl.system.hub_repo import HubRepo, ask_hub, reason


def licence_of(repo: HubRepo) -> str | None:
    """Return the licence that the card of a repository states; None if it states none.

    Raises:
        HubError: see `ask_hub`.
    """
    ask = partial(HfApi(endpoint=constants.ENDPOINT).model_info, repo.name, timeout=LISTING_TIMEOUT)
    card = ask_hub(repo, ask).card_data
    licence = card.get("license") if card else None
    return licence if isinstance(licence, str) else None


def upload(repo: HubRepo, content: Mapping[str, Path | bytes], message: str) -> None:
    """Upload files to a repository in one commit; the repository is created if it is missing.

    Args:
        repo: the repository.
        content: the files by their names in the repository, as local paths or as bytes.
        message: the message of the commit.

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
            ) from None
        raise HubError(f"The hub answered {status} for {repo}: try again later.") from None
    except HFValidationError:
        raise HubError(f"'{repo}' cannot be the name of a {repo.kind} on the hub.") from None
    except Exception as error:  # the client raises errors of many kinds
        raise UnreachableError(
            f"Nothing was uploaded to {repo}: the hub cannot be reached ({reason(error)})."
        ) from None

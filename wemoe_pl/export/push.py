"""Upload an export to the hub, with a card that says what it is."""

from pathlib import Path

from wemoe_pl.checkpoints import ENCODER_FILE, hub_request
from wemoe_pl.errors import ConfigError, HubError
from wemoe_pl.export.card import CARD_FILE, ZERO_SHOT, model_card, shareable, source_repo
from wemoe_pl.export.manifest import MANIFEST, Manifest, read_manifest
from wemoe_pl.system.files import SHIPPED_PREFIX
from wemoe_pl.system.hub_repo import HubRepo
from wemoe_pl.system.hub_upload import licence_of, upload


def destination(name: str) -> HubRepo:
    """Parse the repository from the option `--push`.

    Raises:
        ConfigError: the text names none.
    """
    repo = HubRepo.parse(name, "model")
    if repo is None or "@" in name:
        raise ConfigError(f"--push is '{name}': give USER/NAME, such as me/eight-tasks.")
    return repo


def check_can_be_made_elsewhere(manifest: Manifest) -> None:
    """Raise `ConfigError` for an adapter whose source files nobody else has."""
    if manifest.format != "adapter":
        return
    for part, source in manifest.sources.items():
        name = source["source"].removeprefix(ZERO_SHOT)
        if not name.startswith(SHIPPED_PREFIX) and hub_request(name, ENCODER_FILE) is None:
            raise ConfigError(
                f"Nobody could load this adapter, since {part} is a file of this machine ({name}): "
                "push a bundle instead."
            )


def push(folder: Path, repo: HubRepo, difference: float) -> None:
    """Upload an export, its manifest without paths of this machine, and its card.

    Args:
        folder: the folder of the export.
        repo: the repository, which is created if it does not exist.
        difference: the difference that `export` returned.

    Raises:
        ConfigError: the export could not be loaded elsewhere.
        HubError: the hub cannot be reached, or does not let the user write there.
    """
    manifest = read_manifest(folder / MANIFEST)
    check_can_be_made_elsewhere(manifest)
    public = shareable(manifest)
    merged = dict.fromkeys(source_repo(source["source"]) for source in manifest.sources.values())
    found = [source for source in merged if hub_request(source, ENCODER_FILE)]
    licences = {source: stated_licence(HubRepo(source)) for source in found}
    content: dict[str, Path | bytes] = {name: folder / name for name in manifest.files}
    content[MANIFEST] = public.text.encode()
    content[CARD_FILE] = model_card(public, repo, licences, difference).encode()
    upload(repo, content, f"Export of wemoe_pl as {manifest.format}")


def stated_licence(repo: HubRepo) -> str | None:
    """Return the licence that the card of a repository states; None if none can be found."""
    try:
        return licence_of(repo)
    except HubError:
        return None

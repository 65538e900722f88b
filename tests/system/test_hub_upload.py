"""Files go to the hub in one commit; what can go wrong is tested in `tests/export/test_push.py`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.loopback_hub import LoopbackHub
from huggingface_hub import constants

from wemoe_pl.errors import HubError
from wemoe_pl.system.hub_repo import HubRepo
from wemoe_pl.system.hub_upload import licence_of, upload


@pytest.fixture
def hub(
    tmp_path: Path, online: Callable[[LoopbackHub], Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[LoopbackHub]:
    """A hub without models, and somebody who is logged in."""
    with LoopbackHub(tmp_path / "hub") as hub:
        online(hub)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # which is another server's
        monkeypatch.setenv("HF_TOKEN", "hf_secretOfNobody")
        yield hub


def test_files_and_texts_go_into_a_repository_that_need_not_be_there(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    (tmp_path / "weights").write_bytes(b"\x00\x01")
    content: dict[str, Path | bytes] = {"README.md": b"A card."}
    content["model.safetensors"] = tmp_path / "weights"
    upload(HubRepo("me/merged"), content, "Merged weights")
    there = hub.root / "models/me/merged"
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {
        "model.safetensors": b"\x00\x01", "README.md": b"A card.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\nText.\n", "mit"),
        ("---\ntags: [vision]\n---\nText.\n", None),
        ("---\nlicense: [mit, bsd]\n---\nText.\n", None),
        ("Text.\n", None),
    ],
)
def test_the_licence_is_the_one_that_the_card_states(
    hub: LoopbackHub, card: str, licence: str | None
) -> None:
    (hub.root / "models/owner/model").mkdir(parents=True)
    (hub.root / "models/owner/model/README.md").write_text(card)
    assert licence_of(HubRepo("owner/model")) == licence


def test_a_repository_that_is_not_there_has_no_licence(hub: LoopbackHub) -> None:
    with pytest.raises(HubError, match="owner/nothing"):
        licence_of(HubRepo("owner/nothing"))

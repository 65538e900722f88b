"""Files go to the hub in one commit; what can go wrong is tested in `tests/export/test_push.py`."""

from pathlib import Path

import pytest
from helpers.loopback_hub import LoopbackHub

from wemoe_pl.errors import HubError
from wemoe_pl.system.hub_repo import HubRepo
from wemoe_pl.system.hub_upload import licence_of, upload


def test_files_and_texts_go_into_a_repository_that_need_not_be_there(
    writable_hub: LoopbackHub, tmp_path: Path
) -> None:
    (tmp_path / "weights").write_bytes(b"\x00\x01")
    content: dict[str, Path | bytes] = {"README.md": b"A card."}
    content["model.safetensors"] = tmp_path / "weights"
    upload(HubRepo("me/merged"), content, "Merged weights")
    there = writable_hub.root / "models/me/merged"
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
    writable_hub: LoopbackHub, card: str, licence: str | None
) -> None:
    (writable_hub.root / "models/owner/model").mkdir(parents=True)
    (writable_hub.root / "models/owner/model/README.md").write_text(card)
    assert licence_of(HubRepo("owner/model")) == licence


def test_a_repository_that_is_not_there_has_no_licence(writable_hub: LoopbackHub) -> None:
    with pytest.raises(HubError, match="owner/nothing"):
        licence_of(HubRepo("owner/nothing"))

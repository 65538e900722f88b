"""What is the name of a repository on the hub, and what is not."""

import pytest

from wemoe_pl.system.hub_repo import HubRepo


@pytest.mark.parametrize(
    ("source", "name", "revision"),
    [
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32", "main"),
        ("a_b/c.d-1@v1.0", "a_b/c.d-1", "v1.0"),
        ("lab/vit@refs/pr/1", "lab/vit", "refs/pr/1"),
        ("lab/vit@0123abc", "lab/vit", "0123abc"),
    ],
)
def test_a_repository_is_owner_name_and_perhaps_a_revision(
    source: str, name: str, revision: str
) -> None:
    repo = HubRepo.parse(source, "dataset")
    assert repo == HubRepo(name, revision, "dataset")
    assert str(repo) == source


@pytest.mark.parametrize(
    "source",
    ["", "vit", "a/b/c", "/a/b", "./a", "../a", "~/vit", "a/b@", "a b/c", "a/b\n", "C:\\a", "@a/b",
     "a/..", "a/.b", "a/-b", "-a/b", "a/b@../c", "a/b@v/../../c", "a/b@-x", "a/b\0", "a/ｂ", "аа/b",
     "a/b․․", "a" * 97 + "/b", "http://a/b", "shipped:a/b"],
)  # fmt: skip
def test_anything_else_is_no_repository(source: str) -> None:
    assert HubRepo.parse(source, "model") is None
